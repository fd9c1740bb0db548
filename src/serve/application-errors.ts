import { ServeLLMError } from "../errors/serve-llm-error.ts";

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
