import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import { errorEvent } from "../protocol/event-stream-text.ts";
import { toOpenAIError } from "../protocol/openai-error.ts";

/** Whose events tell that a stream broke. */
export type FailureFormat = "openai" | "responses" | "anthropic";

/** The last event of a stream that broke, as clients of each API expect it. */
export function failureEvent(format: FailureFormat, error: ServeLLMError): Uint8Array {
  const { body } = toOpenAIError(error);
  const { message, code, param } = body.error;
  if (format === "openai") return errorEvent(body);
  return namedErrorEvent(
    format === "responses"
      ? { type: "error", code, message, param }
      : { type: "error", error: { type: "api_error", message } },
  );
}

/** JSON escapes line breaks, so nothing in the message can start an event of its own. */
function namedErrorEvent(data: object): Uint8Array {
  return Buffer.from(`event: error\ndata: ${JSON.stringify(data)}\n\n`);
}
