import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import { errorEvent } from "../protocol/event-stream-text.ts";
import { toOpenAIError } from "../protocol/openai-error.ts";

/** Whose events tell that a stream broke. */
export type FailureFormat = "openai" | "responses" | "anthropic";

/** The last event of a stream that broke, as clients of each API expect it. */
export function failureEvent(format: FailureFormat, error: ServeLLMError): Uint8Array {
  const { body } = toOpenAIError(error);
  switch (format) {
    case "openai":
      return errorEvent(body);
    case "responses":
      return namedErrorEvent({
        type: "error",
        code: body.error.code,
        message: body.error.message,
        param: body.error.param,
      });
    case "anthropic":
      return namedErrorEvent({ type: "error", error: { type: "api_error", message: body.error.message } });
  }
}

/** JSON escapes line breaks, so nothing in the message can start an event of its own. */
function namedErrorEvent(data: object): Uint8Array {
  return Buffer.from(`event: error\ndata: ${JSON.stringify(data)}\n\n`);
}
