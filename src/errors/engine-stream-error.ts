import { EngineConnectionError } from "./engine-connection-error.ts";
import { EngineError, type EngineErrorOrigin } from "./engine-error.ts";

/** How a stream went wrong without an error status. */
export type StreamFault =
  /** The engine ended the stream before every choice had a finish reason. */
  | "truncated"
  /** The engine produced no token at all: only the role chunk, or nothing, then the end. */
  | "swallowed"
  /** The connection broke while the answer was on its way. */
  | "disconnected"
  /** The engine sent something that is not an event stream of JSON. */
  | "malformed";

/** A stream that must not look complete to the client. */
export class EngineStreamError extends EngineError {
  override readonly name = "EngineStreamError";
  readonly fault: StreamFault;

  constructor(origin: EngineErrorOrigin, fault: StreamFault, options: { readonly cause?: unknown } = {}) {
    const { cause } = options;
    const reason = cause instanceof EngineConnectionError ? cause.reason : undefined;
    super(reason === undefined ? streamFaultText[fault] : `The engine ${reason}.`, origin, {
      code: `stream_${fault}`,
      status: 502,
      cause,
    });
    this.fault = fault;
  }
}

const streamFaultText: Readonly<Record<StreamFault, string>> = {
  truncated: "The engine ended the stream before the answer was finished.",
  swallowed: "The engine ended the stream without producing a token.",
  disconnected: "The connection to the engine broke before the answer was finished.",
  malformed: "The engine sent a stream that could not be read.",
};
