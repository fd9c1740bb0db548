import { EngineError, type EngineErrorOrigin } from "./engine-error.ts";

/** The engine could not be reached, or the connection broke before it answered. */
export class EngineConnectionError extends EngineError {
  override readonly name = "EngineConnectionError";
  /** True when no byte of the request can have reached the engine, so that sending it again is always safe. */
  readonly neverSent: boolean;

  constructor(origin: EngineErrorOrigin, options: { readonly cause?: unknown; readonly neverSent: boolean }) {
    super(`The ${origin.phase} engine could not be reached or closed the connection.`, origin, {
      code: "engine_connection_error",
      status: 502,
      cause: options.cause,
    });
    this.neverSent = options.neverSent;
  }
}
