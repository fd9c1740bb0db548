import type { ApplicationSnapshot, DeploymentSnapshot } from "../observability/application-snapshot.ts";
import type { PDHealth } from "../observability/pd-health-report.ts";
import type { DisaggregationPart, PagePart, PoolPart, ReplicaPart } from "./page-message.ts";
import type { RecentCalls } from "./replica-calls.ts";

/** The state of an application in parts, each under a key of its own and as JSON text. */
export type PageParts = ReadonlyMap<string, string>;

/**
 * Cuts an application's state into parts, so that what did not change need not be sent.
 *
 * @param callsOf how calls to a replica went of late
 */
export function pageParts(
  name: string,
  snapshot: ApplicationSnapshot,
  callsOf: (deployment: string, replica: string) => RecentCalls,
): Map<string, string> {
  const parts = new Map<string, string>();
  const add = (key: string, part: PagePart): void => void parts.set(key, JSON.stringify(part));
  const { status, message, inFlight } = snapshot;
  add("application", { kind: "application", name, status, message, inFlight });
  for (const health of snapshot.pdHealth) {
    add(`disaggregation ${health.deployment}`, disaggregationPart(health, snapshot));
  }
  for (const [pool, deployment] of Object.entries(snapshot.deployments)) {
    if (!hasPool(deployment)) continue;
    add(`pool ${pool}`, poolPart(pool, deployment));
    for (const replica of deployment.replicas) {
      add(`replica ${pool}\n${replica.id}`, replicaPart(pool, replica, callsOf(pool, replica.id)));
    }
  }
  return parts;
}

/** What has to be told to one who knows `before`: parts as JSON text; null for those that are gone. */
export function changedParts(before: PageParts, after: PageParts): ReadonlyMap<string, string | null> {
  const changed = new Map<string, string | null>();
  for (const [key, text] of after) if (before.get(key) !== text) changed.set(key, text);
  for (const key of before.keys()) if (!after.has(key)) changed.set(key, null);
  return changed;
}

/** An object with these members, as JSON text. */
export function joinParts(parts: ReadonlyMap<string, string | null>): string {
  return `{${[...parts].map(([key, text]) => `${JSON.stringify(key)}:${text ?? "null"}`).join(",")}}`;
}

/** Deployments that only pass requests on have no replicas, and never will. */
function hasPool({ replicas, replicaStates, targetReplicas }: DeploymentSnapshot): boolean {
  return replicas.length > 0 || targetReplicas !== undefined || Object.keys(replicaStates).length === 0;
}

function poolPart(name: string, deployment: DeploymentSnapshot): PoolPart {
  const { status, message, queued, targetReplicas, replicaStates } = deployment;
  return {
    kind: "pool",
    name,
    status,
    message,
    queued,
    target: targetReplicas ?? null,
    states: replicaStates,
  };
}

function replicaPart(
  pool: string,
  replica: DeploymentSnapshot["replicas"][number],
  calls: RecentCalls,
): ReplicaPart {
  const { id, state, health, inFlight, engineLoad, holds, ejections } = replica;
  return {
    kind: "replica",
    pool,
    id,
    state,
    health,
    inFlight,
    engine:
      engineLoad === null
        ? null
        : {
            running: engineLoad.running,
            waiting: engineLoad.waiting,
            kvUsage: Math.round(engineLoad.kvCacheUsage * 1000) / 1000,
          },
    holds,
    ejections,
    ...calls,
  };
}

function disaggregationPart(health: PDHealth, { deployments }: ApplicationSnapshot): DisaggregationPart {
  const { deployment, degraded, handoffShare, window, requests, disaggregated, decodeOnly } = health;
  const details = deployments[deployment]?.details ?? {};
  const holds = details["kvHolds"] as
    | { readonly open: number; readonly ended: Readonly<Record<string, number>> }
    | undefined;
  const disagreements = (details["disagreements"] ?? []) as readonly { readonly message: string }[];
  return {
    kind: "disaggregation",
    deployment,
    degraded,
    handoffShare,
    window,
    requests,
    disaggregated,
    decodeOnly: decodeOnly as Readonly<Record<string, number>>,
    holdsOpen: holds?.open ?? 0,
    holdsEnded: holds?.ended ?? {},
    disagreements: disagreements.map(({ message }) => message),
  };
}
