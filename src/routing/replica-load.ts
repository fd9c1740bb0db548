import type { EngineLoad, ReplicaView } from "./request-router.ts";

/**
 * Milliseconds after which a scraped load says nothing any more. Ray's
 * `RAY_SERVE_QUEUE_LENGTH_CACHE_TIMEOUT_S` of 10 s.
 */
export const defaultLoadMaxAgeMs = 10_000;

/** Milliseconds over which reports are averaged. */
const smoothingMs = 30_000;

/**
 * How many requests of other processes an engine has, from one report to the next: what it reported beyond our own,
 * averaged over half a minute. A single report is old before the next comes; what several have in common lasts.
 *
 * @param report what the engine said, and when
 * @param ownInFlight requests this process had on it then
 * @param before the report before this one; undefined for the first
 */
export function smoothedOthers(
  report: EngineLoad,
  ownInFlight: number,
  before: EngineLoad | undefined,
): number {
  const now = report.running + report.waiting - ownInFlight;
  if (before?.others === undefined) return now;
  const weight = 1 - Math.exp((before.atMs - report.atMs) / smoothingMs);
  return before.others + weight * (now - before.others);
}

/**
 * How busy a replica is, in requests: what this process has on it, which it knows at every moment, plus what others
 * have on it, as long as its engine's last report is fresh.
 *
 * Our own requests are never taken from a report: it is seconds old, and whoever believes it runs in a herd to what
 * was idle then. Where nobody else sends to the engines, reports change nothing.
 */
export function replicaLoad(
  replica: ReplicaView,
  nowMs: number,
  maxAgeMs: number = defaultLoadMaxAgeMs,
): number {
  const reported = replica.engineLoad;
  if (reported === undefined || nowMs - reported.atMs > maxAgeMs) return replica.inFlight;
  const others = reported.others ?? reported.running + reported.waiting;
  return others > 0 ? replica.inFlight + others : replica.inFlight;
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
