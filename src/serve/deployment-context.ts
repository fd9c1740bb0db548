import type { EndpointInit } from "../config/endpoint.ts";
import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import type { MetricsPage } from "../observability/metric-set.ts";
import type { PDHealth } from "../observability/pd-health-report.ts";
import type { RequestTrace } from "../observability/request-trace.ts";
import type { EngineMetricsPage } from "../protocol/merge-metrics.ts";

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
  /** Takes note of a request that is over: what `app.explain` and the metrics know comes from here. */
  readonly observe: (trace: RequestTrace) => void;
  /** Takes note of a request that has come: the same trace as in {@link observe}, which fills in as it goes on. */
  readonly observeStart?: ((trace: RequestTrace) => void) | undefined;
  /** The application's metrics, for who serves them; undefined outside of an application. */
  readonly metrics?: MetricsPort | undefined;
}

/** The metrics of an application, as its deployments see them. */
export interface MetricsPort {
  /** Has them counted from the start on. Called while a deployment is made. */
  enable(): void;
  /** All of them, in Prometheus' text format. */
  page(): Promise<MetricsPage>;
}

/** Ray's deployment statuses. */
export type DeploymentStatus =
  | "UPDATING"
  | "HEALTHY"
  | "UNHEALTHY"
  | "DEPLOY_FAILED"
  | "UPSCALING"
  | "DOWNSCALING";

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
  /** `STARTING`: not yet warmed up; `STOPPING`: drains. */
  readonly state: "STARTING" | "RUNNING" | "STOPPING";
  /** Data-parallel rank; null when it is none. */
  readonly rank: number | null;
  /** Its group of data-parallel ranks, which serves as a whole or not at all; null when it is in none. */
  readonly group: { readonly name: string; readonly size: number; readonly inService: boolean } | null;
  readonly health: "healthy" | "ejected" | "probing" | "unhealthy";
  /** Its engine was told to sleep or to pause, so that it gets no requests; null when it was not. */
  readonly suspension: "sleeping" | "paused" | null;
  readonly inFlight: number;
  /** How often failures of requests ejected it. */
  readonly ejections: number;
  /** KV holds: requests whose blocks are pinned on it until decode picks them up. */
  readonly holds: number;
  /**
   * Milliseconds it may still drain, from `gracefulShutdownTimeoutS`; then what uses it fails. Null: it does not
   * drain, or as long as it takes, as when it was taken out by hand or by discovery.
   */
  readonly drainTimeLeftMs: number | null;
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
  /** Replicas that should run; absent where nobody here decides that. Ray's `target_num_replicas`. */
  readonly targetReplicas?: number | undefined;
  /** Number of replicas by state. */
  readonly replicaStates: Readonly<Record<string, number>>;
  /** Requests waiting for a slot. */
  readonly queued: number;
  readonly replicas: readonly ReplicaStatus[];
  /** Whatever the deployment's class adds, for example KV holds. */
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/** What can be done by hand to the pool of a running deployment. */
export interface DeploymentControl {
  /**
   * Sets its endpoints, from now on instead of what discovery finds; null gives it back to discovery. Settles when the
   * replicas that left have drained.
   *
   * @throws ConfigurationError naming every bad endpoint
   */
  setEndpoints(endpoints: readonly (string | EndpointInit)[] | null): Promise<void>;
  /**
   * Takes a replica out of service. Settles when its last request is over, and on prefill also the last fetch of KV
   * from it: then its engine may be stopped.
   *
   * @throws ConfigurationError when there is no such replica
   */
  drain(replicaId: string): Promise<void>;
  /** As {@link drain}, at once: requests that run on it fail. @throws ConfigurationError when there is no such replica */
  remove(replicaId: string): Promise<void>;
  /** Checks the health of every replica now. */
  checkNow(): Promise<void>;
  status(): DeploymentStatusDetails;
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
  /** Only of deployments that have engines of their own. */
  readonly pool?: DeploymentControl | undefined;
  /** Only of prefill/decode deployments. */
  pdHealth?(): PDHealth;
  /** What its engines report of themselves, when its configuration wants that passed on (`logEngineMetrics`). */
  engineMetrics?(): Promise<readonly EngineMetricsPage[]>;
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
