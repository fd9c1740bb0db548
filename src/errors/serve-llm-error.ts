const brand = Symbol.for("serve-llm.error");

/** Facts every error of this library carries beside its message. */
export interface ServeLLMErrorFields {
  /** Stable, documented identifier, for example `model_not_found`. Never parse the message instead. */
  readonly code: string;
  /** HTTP status a client of the OpenAI API sees when this error ends its request. */
  readonly status: number;
  /** OpenAI error `type`, for example `invalid_request_error`. */
  readonly type: string;
  /** The request or configuration field at fault, or `null`. */
  readonly param?: string | null | undefined;
  /** Seconds the client should wait before trying again; sent as `Retry-After`, rounded up. */
  readonly retryAfterS?: number | undefined;
  readonly cause?: unknown;
}

/**
 * Base of every error this library throws or answers with.
 *
 * Match on `code`, or on the class with {@link ServeLLMError.isInstance}, which also works when two copies of
 * the package are loaded (ESM beside CJS).
 */
export class ServeLLMError extends Error {
  override readonly name: string = "ServeLLMError";
  readonly code: string;
  readonly status: number;
  readonly type: string;
  readonly param: string | null;
  readonly retryAfterS: number | undefined;

  constructor(message: string, fields: ServeLLMErrorFields) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = fields.code;
    this.status = fields.status;
    this.type = fields.type;
    this.param = fields.param ?? null;
    this.retryAfterS = fields.retryAfterS;
    Object.defineProperty(this, brand, { value: true });
  }

  /** True for any error of this library, whichever copy of the package made it. */
  static isInstance(value: unknown): value is ServeLLMError {
    return typeof value === "object" && value !== null && (value as { [brand]?: unknown })[brand] === true;
  }
}
