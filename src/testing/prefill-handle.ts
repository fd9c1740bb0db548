import type { Generation } from "./generation.ts";
import { handleText } from "./kv-params.ts";

/** What prefill hands over with its answer. */
export interface PrefillHandle {
  /** `kv_transfer_params` as JSON text; undefined: the field is left out. */
  readonly text: string | undefined;
  /** Blocks that stay pinned. */
  readonly pinned: readonly number[];
}

const none: PrefillHandle = { text: "null", pinned: [] };

/**
 * Pins the KV of a prefill that is done and writes its handle. `null` for requests that did not ask, and for
 * streams, which have no place for a handle.
 */
export function prefillHandle(generation: Generation, blockIds: readonly number[]): PrefillHandle {
  const { core, request, fault } = generation;
  const { options, ledger } = core;
  const [prompt] = request.prompts;
  if (request.phase !== "prefill" || request.stream || options.kvConnector === null || prompt === undefined) {
    return none;
  }
  const endedAtOnce =
    generation.replies[0]?.finishReason === "stop" && generation.replies[0].tokens.length <= 1;
  if (endedAtOnce && options.firstTokenStop !== undefined && options.firstTokenStopHandle === "null")
    return none;
  if (fault?.kind === "noKv") {
    return {
      text: fault.form === "missing" ? undefined : fault.form === "empty" ? "{}" : "null",
      pinned: [],
    };
  }
  const pinned = blockIds.slice(0, Math.ceil(prompt.length / options.blockSize));
  const kv = {
    requestId: generation.internalId,
    blockIds: pinned,
    fingerprint: request.fingerprint,
    promptTokens: prompt.length,
    tensorParallelSize: options.tensorParallelSize,
    leaseToken: core.nextLeaseToken(),
  };
  ledger.pin(kv);
  if (fault?.kind === "expiredKv") ledger.expire(kv.requestId);
  return { text: handleText(kv, core.issuer, fault?.kind === "wrongKv" ? fault : undefined), pinned };
}
