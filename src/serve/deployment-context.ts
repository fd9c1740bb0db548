import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import type { PDHealth } from "../observability/pd-health-report.ts";

/** What a deployment gets from the application it runs in. */
export interface DeploymentContext {
  /** Unique within the application. */
  readonly name: string;
  /** Options as given to `.options()`. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly clock: Clock;
  readonly random: Random;
  /** For what a person should know; never secrets, never prompts. */
  readonly warn: (message: string) => void;
}

/** Ray's deployment statuses. */
export type DeploymentStatus = "UPDATING" | "HEALTHY" | "UNHEALTHY" | "DEPLOY_FAILED" | "UPSCALING" | "DOWNSCALING";

/** Ray's reasons for a deployment's status. */
export type DeploymentStatusTrigger =
  | "CONFIG_UPDATE_STARTED"
  | "CONFIG_UPDATE_COMPLETED"
  | "UPSCALE_COMPLETED"
  | "DOWNSCALE_COMPLETED"
  | "AUTOSCALING"
  | "REPLICA_STARTUP_FAILED"
  | "HEALTH_CHECK_FAILED"
  | "INTERNAL_ERROR"
  | "DELETING"
  | "UNSPECIFIED";

/** Load an engine reported about itself. */
export interface ReportedLoad {
  /** Requests running in the engine, anybody's. */
  readonly running: number;
  /** Requests waiting in the engine. */
  readonly waiting: number;
  /** Part of its KV cache that is in use, 0 to 1. */
  readonly kvCacheUsage: number;
  /** Milliseconds since it was read. */
  readonly ageMs: number;
}

/** One replica, for people and dashboards. */
export interface ReplicaStatus {
  readonly id: string;
  readonly url: string;
  readonly state: "RUNNING" | "STOPPING";
  readonly health: "healthy" | "ejected" | "probing" | "unhealthy";
  readonly inFlight: number;
  /** KV holds: requests whose blocks are pinned on it until decode picks them up. */
  readonly holds: number;
  /** vLLM's version; null until the engine was asked, or when it does not say. */
  readonly version: string | null;
  /** Names of what it serves, LoRA adapters included; null until it was asked. */
  readonly servedModels: readonly string[] | null;
  /** Null until it was scraped, or when the deployment's router does not ask for it. */
  readonly engineLoad: ReportedLoad | null;
}

/** State of one deployment; Ray's shape, and what this library knows beyond it. */
export interface DeploymentStatusDetails {
  readonly status: DeploymentStatus;
  readonly statusTrigger: DeploymentStatusTrigger;
  readonly message: string;
  /** Number of replicas by state. */
  readonly replicaStates: Readonly<Record<string, number>>;
  /** Requests waiting for a slot. */
  readonly queued: number;
  readonly replicas: readonly ReplicaStatus[];
  /** Whatever the deployment's class adds, for example KV holds. */
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/** What an application may call on the instances it makes. All optional. */
export interface DeploymentInstance {
  /** Opens pools and starts loops; resolves when requests can be served. */
  start?(): Promise<void>;
  /** Waits until its running requests are over. */
  drain?(): Promise<void>;
  /** Stops loops and closes every socket now. */
  shutdown?(): Promise<void>;
  status?(): DeploymentStatusDetails;
  /** Only of prefill/decode deployments. */
  pdHealth?(): PDHealth;
}

/** A class that can be deployed: it takes its arguments as one object. */
export interface DeployableClass<Arguments, Instance extends DeploymentInstance> {
  readonly name: string;
  new (args: Arguments, context: DeploymentContext): Instance;
}

/** One node of an application graph: data only. */
export interface ApplicationNode<Instance extends DeploymentInstance = DeploymentInstance> {
  readonly name: string;
  readonly deployedClass: DeployableClass<never, Instance>;
  readonly options: Readonly<Record<string, unknown>>;
  readonly args: unknown;
}

/** What an application needs of the world; tests put in their own. */
export type ApplicationEnvironment = Pick<DeploymentContext, "clock" | "random" | "warn">;
