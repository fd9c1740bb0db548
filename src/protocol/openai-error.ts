import { EngineResponseError } from "../errors/engine-response-error.ts";
import { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { OpenAIErrorBody } from "./openai-types.ts";

/** An error ready to be sent: status, headers and the one body shape this library uses. */
export interface OpenAIErrorResponse {
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: OpenAIErrorBody;
}

/**
 * Turns anything thrown into OpenAI's error shape: the only place that makes it.
 *
 * An engine's own 4xx keeps its message, type, param and code. Unexpected errors say nothing about their cause, which
 * could name hosts or contain prompts.
 */
export function toOpenAIError(error: unknown): OpenAIErrorResponse {
  if (!ServeLLMError.isInstance(error)) {
    return {
      status: 500,
      headers: [],
      body: {
        error: {
          message: "Internal Server Error.",
          type: "internal_error",
          param: null,
          code: "internal_error",
        },
      },
    };
  }
  const headers: [string, string][] = [];
  if (error.retryAfterS !== undefined) headers.push(["retry-after", String(Math.ceil(error.retryAfterS))]);
  const passedOn = error instanceof EngineResponseError && error.engineStatus < 500;
  const body = passedOn
    ? error.body
    : { message: error.message, type: error.type, param: error.param, code: error.code };
  return {
    status: error.status,
    headers,
    body: { error: { message: body.message, type: body.type, param: body.param, code: body.code } },
  };
}
