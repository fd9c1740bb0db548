import type { Generation } from "./generation.ts";
import { handleText, moriioHandleText } from "./kv-params.ts";

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
 * streams, which have no place for a handle. Always `null` when decode comes by a name both legs know; with Mooncake
 * and MoRIIO an answer that ended by itself drops the blocks. A store just keeps the KV.
 */
export function prefillHandle(generation: Generation, blockIds: readonly number[]): PrefillHandle {
  const { core, request, fault } = generation;
  const { options, ledger } = core;
  const [prompt] = request.prompts;
  options.kvStore?.keep(request.fingerprint);
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
  const { connector } = core;
  const isNixl = connector.handle === "nixl";
  const key = isNixl
    ? generation.internalId
    : request.kv === undefined
      ? undefined
      : connector.key(request.kv);
  if (key === undefined) return none;
  const byTransfer = request.kv?.transferId !== undefined;
  if (!isNixl && byTransfer && generation.replies[0]?.finishReason !== "length") return none;
  const pinned = blockIds.slice(0, Math.ceil(prompt.length / options.blockSize));
  const kv = {
    requestId: key,
    blockIds: pinned,
    fingerprint: request.fingerprint,
    promptTokens: prompt.length,
    // Mooncake and P2pNccl tell decode nothing about the shape.
    tensorParallelSize: isNixl || options.kvConnector === "MoRIIOConnector" ? options.tensorParallelSize : 1,
    leaseToken: isNixl ? core.nextLeaseToken() : undefined,
  };
  ledger.pin(kv);
  if (fault?.kind === "expiredKv") ledger.expire(kv.requestId);
  const edits = fault?.kind === "wrongKv" ? fault : undefined;
  if (connector.handle === "none") return { text: "null", pinned };
  if (connector.handle === "moriio") {
    const ranks = { rank: core.rank, size: options.dataParallelSize };
    return { text: moriioHandleText(kv, core.issuer, ranks, edits), pinned };
  }
  return { text: handleText(kv, core.issuer, edits), pinned };
}
