import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import { callAndRead } from "../replicas/buffered-call.ts";
import type { EngineHttpRequest } from "../replicas/endpoint-client.ts";
import type { Replica } from "../replicas/replica.ts";
import { engineErrorResponse } from "./engine-error-response.ts";
import { type PrefillAnswer, readPrefillAnswer } from "./prefill-answer.ts";

/** A prefill's answer is small; one that echoes prompts or log probabilities without end is cut off. */
const maxPrefillBytes = 4 * 1024 * 1024;
/** With the prompt's token ids: two million tokens and more. */
const maxPrefillBytesWithIds = 32 * 1024 * 1024;

/**
 * Runs the prompt through a prefill engine.
 *
 * @throws EngineResponseError for anything but a 200 with an answer; EngineTimeoutError, EngineConnectionError, or
 *   the token's error
 */
export function callPrefill(
  replica: Replica,
  request: EngineHttpRequest,
  options: {
    readonly clock: Clock;
    readonly cancel: CancelToken;
    readonly prefillTimeoutMs: number;
    /** The prompt's token ids were asked for. @default false */
    readonly withTokenIds?: boolean | undefined;
  },
): Promise<PrefillAnswer> {
  const withTokenIds = options.withTokenIds === true;
  const origin: EngineErrorOrigin = { phase: "prefill", replica: replica.fullName };
  return callAndRead(
    replica.http,
    request,
    {
      clock: options.clock,
      cancel: options.cancel,
      replica: replica.fullName,
      timeoutMs: options.prefillTimeoutMs,
      timeoutOption: "prefillTimeoutMs",
      maxBytes: withTokenIds ? maxPrefillBytesWithIds : maxPrefillBytes,
    },
    ({ status, headers, body }) => {
      if (status !== 200) throw engineErrorResponse(origin, status, headers, body);
      return readPrefillAnswer(body, origin, withTokenIds);
    },
  );
}
