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
 * streams, which have no place for a handle. With Mooncake always `null`: decode comes by its transfer id, and an
 * answer that ended by itself drops the blocks.
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
  const { transferId } = request.kv ?? {};
  if (core.usesMooncake && (transferId === undefined || generation.replies[0]?.finishReason !== "length"))
    return none;
  const pinned = blockIds.slice(0, Math.ceil(prompt.length / options.blockSize));
  const kv = {
    requestId: core.usesMooncake ? (transferId ?? "") : generation.internalId,
    blockIds: pinned,
    fingerprint: request.fingerprint,
    promptTokens: prompt.length,
    tensorParallelSize: core.usesMooncake ? 1 : options.tensorParallelSize,
    leaseToken: core.usesMooncake ? undefined : core.nextLeaseToken(),
  };
  ledger.pin(kv);
  if (fault?.kind === "expiredKv") ledger.expire(kv.requestId);
  if (core.usesMooncake) return { text: "null", pinned };
  return { text: handleText(kv, core.issuer, fault?.kind === "wrongKv" ? fault : undefined), pinned };
}
