import { EngineError, type EngineErrorOrigin } from "./engine-error.ts";

/** What an engine said instead of a result, read from any of vLLM's error shapes. */
export interface EngineErrorBody {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | number | null;
}

/** The engine answered with an error status, or with an error where a result belongs. */
export class EngineResponseError extends EngineError {
  override readonly name = "EngineResponseError";
  /** Status the engine sent; for an error event within a stream, the code in the event. */
  readonly engineStatus: number;
  readonly body: EngineErrorBody;

  constructor(
    origin: EngineErrorOrigin,
    engineStatus: number,
    body: EngineErrorBody,
    options: { readonly retryAfterS?: number | undefined } = {},
  ) {
    // A 4xx is about the client's request and passes through; a 5xx is about us and our engines.
    const passesThrough = engineStatus >= 400 && engineStatus < 500;
    super(body.message, origin, {
      code: "engine_response_error",
      status: passesThrough
        ? engineStatus
        : engineStatus === 503 || engineStatus === 504
          ? engineStatus
          : 502,
      type: passesThrough ? body.type : "engine_error",
      param: body.param,
      retryAfterS: options.retryAfterS,
    });
    this.engineStatus = engineStatus;
    this.body = body;
  }

  /** True when the client's own request is at fault (4xx), so that no other replica would say otherwise. */
  get isClientFault(): boolean {
    return (
      this.engineStatus >= 400 &&
      this.engineStatus < 500 &&
      this.engineStatus !== 429 &&
      this.engineStatus !== 408
    );
  }
}
