import { EngineError, type EngineErrorOrigin } from "./engine-error.ts";

/** The engine could not be reached, or the connection broke before it answered. */
export class EngineConnectionError extends EngineError {
  override readonly name = "EngineConnectionError";
  /** True when no byte of the request can have reached the engine, so that sending it again is always safe. */
  readonly neverSent: boolean;
  /** How it came about, when that was decided here, for example that its engine had to go; else undefined. */
  readonly reason: string | undefined;

  /** @param options.reason how it came about, when that was decided here: follows "The decode engine" */
  constructor(
    origin: EngineErrorOrigin,
    options: { readonly cause?: unknown; readonly neverSent: boolean; readonly reason?: string | undefined },
  ) {
    const { reason = "could not be reached or closed the connection" } = options;
    super(`The ${origin.phase} engine ${reason}.`, origin, {
      code: "engine_connection_error",
      status: 502,
      cause: options.cause,
    });
    this.neverSent = options.neverSent;
    this.reason = options.reason;
  }
}
