import { ServeLLMError } from "./serve-llm-error.ts";

/** The caller left or gave up; nothing is wrong with any engine. 499 as nginx and Ray Serve record it. */
export class RequestCancelledError extends ServeLLMError {
  override readonly name = "RequestCancelledError";

  constructor(reason: string, options: { cause?: unknown } = {}) {
    super(`The request was cancelled: ${reason}.`, {
      code: "client_closed_request",
      status: 499,
      type: "cancelled_error",
      cause: options.cause,
    });
  }
}
