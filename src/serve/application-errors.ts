import type { HttpResponse } from "../adapters/http-exchange.ts";
import { ServeLLMError } from "../errors/serve-llm-error.ts";
import { toOpenAIError } from "../protocol/openai-error.ts";

/** What a request gets while its application stops. */
export function shuttingDown(): ServeLLMError {
  return new ServeLLMError("The server is shutting down.", {
    code: "shutting_down",
    status: 503,
    type: "unavailable_error",
    retryAfterS: 1,
  });
}

/** What a request over HTTP gets from an application without an ingress. */
export function noIngress(name: string): ServeLLMError {
  return new ServeLLMError(`Deployment "${name}" does not answer HTTP; put an ingress in front of it.`, {
    code: "no_ingress",
    status: 500,
    type: "configuration_error",
  });
}

/** The answer of an application that has none, or did not come so far. */
export function errorAnswer(error: unknown): HttpResponse {
  const { status, headers, body } = toOpenAIError(error);
  return {
    status,
    headers: [["content-type", "application/json"], ...headers],
    body: Buffer.from(JSON.stringify(body)),
  };
}
