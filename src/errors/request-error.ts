import { ServeLLMError } from "./serve-llm-error.ts";

/** What the client sent was refused here; no engine saw it. */
export interface RequestErrorFields {
  /** @default 400 */
  readonly status?: number | undefined;
  /** @default "invalid_request" */
  readonly code?: string | undefined;
  readonly param?: string | null | undefined;
  readonly cause?: unknown;
}

/** A client's request was refused before any engine saw it (a 4xx). */
export class RequestError extends ServeLLMError {
  override readonly name = "RequestError";

  constructor(message: string, fields: RequestErrorFields = {}) {
    super(message, {
      status: fields.status ?? 400,
      code: fields.code ?? "invalid_request",
      type: "invalid_request_error",
      param: fields.param,
      cause: fields.cause,
    });
  }
}
