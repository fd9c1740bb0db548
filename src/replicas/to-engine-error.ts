import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import { EngineTimeoutError } from "../errors/engine-timeout-error.ts";
import { RequestError } from "../errors/request-error.ts";
import { ServeLLMError } from "../errors/serve-llm-error.ts";

/** The call that failed. */
export interface FailedCall extends EngineErrorOrigin {
  /** False when no byte of it can have reached the engine. */
  readonly sent: boolean;
  readonly connectTimeoutMs: number;
}

/** Why a client ended the calls that still ran; follows "The decode engine" in what they are told. */
export class CallsEndedError extends Error {
  override readonly name = "CallsEndedError";
}

/** What an error of the HTTP client means for the request. Errors of this library stay as they are. */
export function toEngineError(
  error: Error,
  { phase, replica, sent, connectTimeoutMs }: FailedCall,
): ServeLLMError {
  if (ServeLLMError.isInstance(error)) return error;
  const { code } = error as { readonly code?: unknown };
  if (code === "UND_ERR_INVALID_ARG") {
    // Line breaks in a header or a path; undici refuses them, and no engine is to blame.
    return new RequestError(
      "The request can't be sent as HTTP: a header or the path has characters not allowed there.",
      { cause: error },
    );
  }
  if (code === "UND_ERR_CONNECT_TIMEOUT") {
    return new EngineTimeoutError({ phase: "connect", replica }, "connectTimeoutMs", connectTimeoutMs);
  }
  const reason = error instanceof CallsEndedError ? error.message : undefined;
  return new EngineConnectionError({ phase, replica }, { cause: error, neverSent: !sent, reason });
}
