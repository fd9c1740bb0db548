import type { PDHealth } from "./pd-health-report.ts";

/** State of a replica, as far as metrics and the status page show it. */
export interface ReplicaSnapshot {
  readonly id: string;
  readonly state: string;
  readonly health: string;
  readonly inFlight: number;
  readonly ejections: number;
  readonly holds: number;
  readonly engineLoad: {
    readonly running: number;
    readonly waiting: number;
    readonly kvCacheUsage: number;
  } | null;
}

/** State of a deployment, as far as metrics and the status page show it. */
export interface DeploymentSnapshot {
  readonly status: string;
  readonly message: string;
  readonly queued: number;
  readonly targetReplicas?: number | undefined;
  readonly replicaStates: Readonly<Record<string, number>>;
  readonly replicas: readonly ReplicaSnapshot[];
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/** State of an application, as far as metrics and the status page show it. */
export interface ApplicationSnapshot {
  readonly status: string;
  readonly message: string;
  readonly inFlight: number;
  readonly deployments: Readonly<Record<string, DeploymentSnapshot>>;
  readonly pdHealth: readonly PDHealth[];
}
