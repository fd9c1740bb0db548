import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import { type BufferedResponse, callBuffered } from "./buffered-call.ts";
import type { Replica } from "./replica.ts";

/** How a question to an engine is asked. */
export interface EngineGetOptions {
  readonly clock: Clock;
  readonly cancel: CancelToken;
  /** Milliseconds to the last byte of the answer. */
  readonly timeoutMs: number;
  /** The option `timeoutMs` came from; named in the error. */
  readonly timeoutOption: string;
}

/** More than any metrics page with thousands of adapters. */
const maxAnswerBytes = 16 * 1024 * 1024;

/**
 * Asks an engine something about itself, outside of any client's request.
 *
 * @throws EngineTimeoutError, EngineConnectionError, EngineResponseError when the answer is larger than 16 MiB, or
 *   the token's error
 */
export function engineGet(
  replica: Replica,
  path: string,
  options: EngineGetOptions,
): Promise<BufferedResponse> {
  return callBuffered(
    replica.http,
    { method: "GET", path, headers: [], phase: "check" },
    { ...options, replica: replica.fullName, maxBytes: maxAnswerBytes },
  );
}
