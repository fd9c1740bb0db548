import type { ReplicaView } from "./request-router.ts";

/**
 * Milliseconds after which a scraped load says nothing any more. Ray's
 * `RAY_SERVE_QUEUE_LENGTH_CACHE_TIMEOUT_S` of 10 s.
 */
export const defaultLoadMaxAgeMs = 10_000;

/**
 * How busy a replica is, in requests: what this process has on it, plus what the engine itself reported running
 * and waiting, as long as that report is fresh.
 *
 * The sum counts our own requests twice where the report includes them. That is deliberate: it moves with every
 * request of ours, so that a burst between two reports does not all go to the replica that looked idle.
 */
export function replicaLoad(
  replica: ReplicaView,
  nowMs: number,
  maxAgeMs: number = defaultLoadMaxAgeMs,
): number {
  const reported = replica.engineLoad;
  if (reported === undefined || nowMs - reported.atMs > maxAgeMs) return replica.inFlight;
  return replica.inFlight + reported.running + reported.waiting;
}

/** True when the replica may take one more request. */
export function hasFreeSlot(replica: ReplicaView): boolean {
  return replica.inFlight < replica.maxOngoingRequests;
}

/**
 * The replicas with the least loaded first. All are in order of load only when the first has no free slot: the
 * others do not matter before.
 */
export function byLoad(
  replicas: readonly ReplicaView[],
  nowMs: number,
  maxAgeMs: number = defaultLoadMaxAgeMs,
): readonly ReplicaView[] {
  let least: ReplicaView | undefined;
  let leastLoad = Number.POSITIVE_INFINITY;
  for (const replica of replicas) {
    const load = replicaLoad(replica, nowMs, maxAgeMs);
    if (load >= leastLoad) continue;
    least = replica;
    leastLoad = load;
  }
  if (least === undefined || replicas.length < 2) return replicas;
  if (hasFreeSlot(least)) return [least, ...replicas.filter((replica) => replica !== least)];
  return replicas
    .map((replica) => ({ replica, load: replicaLoad(replica, nowMs, maxAgeMs) }))
    .sort((a, b) => a.load - b.load)
    .map(({ replica }) => replica);
}
