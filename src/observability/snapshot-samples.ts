import type { ApplicationSnapshot, DeploymentSnapshot } from "./application-snapshot.ts";
import type { MetricKey } from "./metric-definitions.ts";

/** One value of one metric. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Ray's numbers for the statuses of applications. */
const applicationStatuses: Readonly<Record<string, number>> = {
  DEPLOY_FAILED: 1,
  UNHEALTHY: 2,
  NOT_STARTED: 3,
  DELETING: 4,
  DEPLOYING: 5,
  RUNNING: 6,
};
/** Ray's numbers for the statuses of deployments. */
const deploymentStatuses: Readonly<Record<string, number>> = {
  DEPLOY_FAILED: 1,
  UNHEALTHY: 2,
  UPDATING: 3,
  UPSCALING: 4,
  DOWNSCALING: 5,
  HEALTHY: 6,
};

/** Every value that is read from an application's state rather than counted, by metric. */
export function snapshotSamples(snapshot: ApplicationSnapshot): ReadonlyMap<MetricKey, readonly Sample[]> {
  const samples = new Map<MetricKey, Sample[]>();
  const add = (key: MetricKey, value: number, labels: Sample["labels"] = {}): void => {
    const known = samples.get(key);
    if (known === undefined) samples.set(key, [{ labels, value }]);
    else known.push({ labels, value });
  };
  add("applicationStatus", applicationStatuses[snapshot.status] ?? 0);
  add("httpOngoing", snapshot.inFlight);
  for (const [deployment, details] of Object.entries(snapshot.deployments)) {
    addDeployment(add, deployment, details);
  }
  for (const { deployment, handoffShare, degraded } of snapshot.pdHealth) {
    add("handoffShare", handoffShare, { deployment });
    add("degraded", degraded ? 1 : 0, { deployment });
  }
  return samples;
}

type Add = (key: MetricKey, value: number, labels?: Sample["labels"]) => void;

function addDeployment(add: Add, deployment: string, details: DeploymentSnapshot): void {
  const { status, queued, targetReplicas, replicaStates, replicas } = details;
  add("deploymentStatus", deploymentStatuses[status] ?? 0, { deployment });
  for (const [state, count] of Object.entries(replicaStates)) add("replicas", count, { deployment, state });
  if (targetReplicas !== undefined) add("targetReplicas", targetReplicas, { deployment });
  addHolds(add, deployment, details);
  if (replicas.length === 0 && queued === 0) return;
  add("queued", queued, { deployment });
  let ongoing = 0;
  for (const { id, health, inFlight, ejections, holds, engineLoad } of replicas) {
    const labels = { deployment, replica: id };
    ongoing += inFlight;
    add("replicaOngoing", inFlight, labels);
    add("replicaHealthy", health === "healthy" ? 1 : 0, labels);
    add("ejections", ejections, labels);
    add("replicaHolds", holds, labels);
    if (engineLoad === null) continue;
    add("engineRunning", engineLoad.running, labels);
    add("engineWaiting", engineLoad.waiting, labels);
    add("engineKvUsage", engineLoad.kvCacheUsage, labels);
  }
  add("ongoing", ongoing, { deployment });
}

function addHolds(add: Add, deployment: string, { details }: DeploymentSnapshot): void {
  const holds = details?.["kvHolds"] as
    | { readonly open: number; readonly ended: Readonly<Record<string, number>> }
    | undefined;
  if (holds === undefined) return;
  add("holdsOpen", holds.open, { deployment });
  for (const [end, count] of Object.entries(holds.ended)) add("holdsEnded", count, { deployment, end });
}
