import type { Replica } from "../replicas/replica.ts";
import type { ReplicaSet } from "../replicas/replica-set.ts";
import type { EngineLoad } from "../routing/request-router.ts";
import type { DeploymentStatusDetails, ReplicaStatus, ReportedLoad } from "./deployment-context.ts";
import type { PoolScaling } from "./pool-scaling.ts";

/** State of a pool in Ray's terms. */
export function poolStatus(pool: {
  readonly replicas: ReplicaSet;
  readonly queued: number;
  /** Absent when others decide how many engines there are. */
  readonly scaling: PoolScaling | undefined;
  readonly nowMs: number;
}): DeploymentStatusDetails {
  const { scaling, queued, nowMs } = pool;
  const starting = pool.replicas.startingReplicas;
  const broken = new Map(pool.replicas.brokenGroups.map(({ group, reason }) => [group, reason]));
  const replicas = [
    ...pool.replicas.replicas.map((replica) =>
      replicaStatus(replica, starting.has(replica) ? "STARTING" : "RUNNING", broken, nowMs),
    ),
    ...pool.replicas.drainingReplicas.map((replica) => replicaStatus(replica, "STOPPING", broken, nowMs)),
  ];
  const replicaStates: Record<string, number> = {};
  const count = (state: ReplicaStatus["state"], number: number): void => {
    replicaStates[state] = (replicaStates[state] ?? 0) + number;
  };
  for (const { state } of replicas) count(state, 1);
  if (scaling === undefined) {
    const well = replicas.some(
      ({ state, health, suspension, group }) =>
        state === "RUNNING" &&
        health === "healthy" &&
        suspension === null &&
        (group === null || group.inService),
    );
    const idle = replicas.some(({ suspension }) => suspension !== null);
    const none = idle ? "No healthy replica that is awake." : "No healthy replica.";
    const groups = Array.from(broken, ([group, reason]) => `Data-parallel group ${group}: ${reason}.`);
    return {
      status: well ? "HEALTHY" : "UNHEALTHY",
      statusTrigger: well ? "CONFIG_UPDATE_COMPLETED" : "HEALTH_CHECK_FAILED",
      message: [...(well ? [] : [none]), ...groups].join(" "),
      replicaStates,
      queued,
      replicas,
    };
  }
  const { target, state } = scaling;
  // Engines that were asked for and are not there yet are replicas that start, as Ray sees it.
  const missing = target - pool.replicas.replicas.length;
  if (missing > 0) count("STARTING", missing);
  return {
    status: state.status,
    statusTrigger: state.trigger,
    message: state.message,
    targetReplicas: target,
    replicaStates,
    queued,
    replicas,
  };
}

function replicaStatus(
  replica: Replica,
  state: ReplicaStatus["state"],
  broken: ReadonlyMap<string, string>,
  nowMs: number,
): ReplicaStatus {
  const { id, endpoint, health, inFlight, holds, engineLoad, rank, place, suspension } = replica;
  return {
    id,
    url: endpoint.url,
    state,
    rank: rank ?? null,
    group:
      place === undefined
        ? null
        : {
            name: place.group,
            size: place.groupSize,
            inService: state === "RUNNING" && !broken.has(place.group),
          },
    health,
    suspension: suspension.state ?? null,
    inFlight,
    ejections: replica.totalEjections,
    holds,
    drainTimeLeftMs: replica.drainTimeLeftMs ?? null,
    version: replica.version ?? null,
    servedModels: replica.servedModels?.map((model) => model.id) ?? null,
    engineLoad: engineLoad === undefined ? null : reportedLoad(engineLoad, nowMs),
  };
}

function reportedLoad({ running, waiting, kvCacheUsage, atMs }: EngineLoad, nowMs: number): ReportedLoad {
  return { running, waiting, kvCacheUsage, ageMs: Math.round(nowMs - atMs) };
}
