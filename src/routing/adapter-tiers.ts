import { hash32 } from "./murmur3.ts";
import type { PendingRequest, ReplicaView } from "./request-router.ts";

/**
 * Groups of candidates to be tried in turn for a request that names a LoRA adapter: those that have it loaded; if
 * none has, the one that should load it; then everybody. Without an adapter: one group, the candidates
 * themselves.
 *
 * Ray's multiplex tiers (`apply_multiplex_routing`). Ray sends the first request for an unknown adapter to a
 * replica with the fewest adapters and lets the others wait until that load is published. Here, all of them go to
 * the same one of those replicas, chosen by a hash of adapter and replica: the adapter is loaded once, and nobody
 * waits.
 */
export function adapterTiers(
  candidates: readonly ReplicaView[],
  request: PendingRequest,
): readonly (readonly ReplicaView[])[] {
  const adapter = request.multiplexedModelId;
  if (adapter === undefined || adapter === "") return [candidates];
  const holders = candidates.filter((replica) => replica.multiplexedModelIds.has(adapter));
  if (holders.length === candidates.length) return [candidates];
  if (holders.length > 0)
    return [holders, candidates.filter((replica) => !replica.multiplexedModelIds.has(adapter))];
  const loader = chooseLoader(candidates, adapter);
  return loader === undefined ? [candidates] : [[loader], candidates.filter((replica) => replica !== loader)];
}

function chooseLoader(candidates: readonly ReplicaView[], adapter: string): ReplicaView | undefined {
  let best: ReplicaView | undefined;
  let bestHash = -1;
  const seed = hash32(adapter);
  for (const replica of candidates) {
    const fewer = best === undefined ? -1 : replica.multiplexedModelIds.size - best.multiplexedModelIds.size;
    if (fewer > 0) continue;
    const hash = hash32(replica.id, seed);
    if (fewer < 0 || hash > bestHash) {
      best = replica;
      bestHash = hash;
    }
  }
  return best;
}
