import type { ClientConfig } from "../config/client-config.ts";
import type { Discovery, Endpoint } from "../config/endpoint.ts";
import { DeploymentUnavailableError } from "../errors/deployment-unavailable-error.ts";
import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import { publishEndpointRestarted } from "../observability/channels.ts";
import { EngineIdentities } from "../replicas/engine-identity.ts";
import { HealthChecker } from "../replicas/health-checker.ts";
import { LoadScraper } from "../replicas/load-scraper.ts";
import { ReplicaSet } from "../replicas/replica-set.ts";
import type { Replica } from "../replicas/replica.ts";
import { defaultOutlierDetection, type OutlierDetectionOptions } from "../replicas/replica-health.ts";
import type { EngineLoad, RequestRouter } from "../routing/request-router.ts";
import { DeploymentHandle } from "./deployment-handle.ts";
import type { DeploymentStatusDetails, ReplicaStatus, ReportedLoad } from "./deployment-context.ts";

/** What an {@link EnginePool} is made from. */
export interface EnginePoolInit {
  /** Name of the deployment. */
  readonly deployment: string;
  readonly endpoints: Discovery;
  readonly client: ClientConfig;
  readonly router: RequestRouter;
  readonly clock: Clock;
  readonly random: Random;
  /** The model its engines should serve; undefined: any. */
  readonly modelId: string | undefined;
  /** Ray's options of health checks, seconds. */
  readonly healthCheckPeriodS: number;
  readonly healthCheckTimeoutS: number;
  /** From `requestRouterConfig`, seconds; used when the router asks for the engines' load. */
  readonly requestRoutingStatsPeriodS: number;
  readonly requestRoutingStatsTimeoutS: number;
  readonly maxOngoingRequests: number;
  readonly maxQueuedRequests: number;
  /** From `backpressureConfig`. */
  readonly rejectStatus: number;
  readonly retryAfterS: number | undefined;
  readonly outlierDetection?: OutlierDetectionOptions | undefined;
  /** An engine was restarted: what it had cached or loaded is gone, and pairs with it must shake hands anew. */
  readonly onEngineRestart?: ((replica: Replica, previousEngineId: string) => void) | undefined;
  readonly warn: (message: string) => void;
}

/**
 * The engines of one deployment: where they are, how they are, and the handle through which requests get one.
 *
 * All background work of a deployment starts in {@link start} and is over when {@link shutdown} resolves.
 */
export class EnginePool {
  readonly handle: DeploymentHandle;
  readonly replicas: ReplicaSet;
  /** Called when an engine has said which version and models it has; set by who compares pools. */
  onIdentified: (() => void) | undefined;
  readonly #init: EnginePoolInit;
  readonly #health: HealthChecker;
  readonly #identities: EngineIdentities;
  readonly #scraper: LoadScraper | undefined;
  readonly #stop = new AbortController();
  #lastResort = false;
  #discovering: Promise<void> = Promise.resolve();

  constructor(init: EnginePoolInit) {
    this.#init = init;
    this.handle = new DeploymentHandle({
      deployment: init.deployment,
      router: init.router,
      clock: init.clock,
      maxQueuedRequests: init.maxQueuedRequests,
      rejectStatus: init.rejectStatus,
      retryAfterS: init.retryAfterS,
      queueTimeoutMs: init.client.queueTimeoutMs,
      unavailableTimeoutMs: init.client.unavailableTimeoutMs,
      warn: init.warn,
    });
    this.replicas = new ReplicaSet({
      deployment: init.deployment,
      client: init.client,
      maxOngoingRequests: init.maxOngoingRequests,
      outlierDetection: init.outlierDetection ?? defaultOutlierDetection,
      clock: init.clock,
      observer: {
        onReplicasChange: (available) => this.#onReplicasChange(available),
        onSlotFree: () => this.handle.onSlotFree(),
        onEngineRestart: (replica, previous) => this.#onEngineRestart(replica, previous),
      },
    });
    this.handle.attach(this.replicas);
    this.#identities = new EngineIdentities({
      ...init,
      timeoutS: init.healthCheckTimeoutS,
      onIdentified: () => this.onIdentified?.(),
    });
    this.#health = new HealthChecker({
      ...init,
      probeGeneration: init.client.probeGeneration,
      onAlive: (replica) => this.#identities.ensure(replica),
    });
    if (init.router.usesEngineLoad === true) this.#scraper = new LoadScraper(init);
  }

  /** Checks the health of every replica now. */
  checkNow(): Promise<void> {
    return this.#health.checkNow();
  }

  /** Resolves when the first set of endpoints is known; nobody waits for the engines to be checked. */
  async start(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#discovering = this.#discover(resolve).catch((error: unknown) => {
        if (this.#stop.signal.aborted) return resolve();
        // Before the first snapshot this fails the start; later the last known endpoints stay in use.
        reject(error instanceof Error ? error : new Error(String(error)));
        this.#init.warn(`Discovery of deployment "${this.#init.deployment}" ended: ${String(error)}`);
      });
    });
  }

  async #discover(onFirst: () => void): Promise<void> {
    const { signal } = this.#stop;
    for await (const endpoints of this.#init.endpoints(signal)) {
      if (signal.aborted) break;
      this.#reconcile(endpoints);
      onFirst();
    }
    onFirst();
  }

  #reconcile(endpoints: readonly Endpoint[]): void {
    // Replicas that left drain in the background; shutdown waits for them.
    this.replicas.reconcile(endpoints).catch((error: unknown) => {
      this.#init.warn(`A replica of "${this.#init.deployment}" did not close cleanly: ${String(error)}`);
    });
    this.#health.sync(this.replicas.replicas);
    this.#scraper?.sync(this.replicas.replicas);
  }

  #onReplicasChange(available: readonly Replica[]): void {
    const lastResort = available.length > 0 && !available.some(isWell);
    if (lastResort && !this.#lastResort) {
      this.#init.warn(
        `No replica of "${this.#init.deployment}" is healthy; requests go to all of them as a last resort.`,
      );
    }
    this.#lastResort = lastResort;
    this.handle.onReplicasChange(available);
    this.#identities.observe(this.replicas.replicas);
  }

  #onEngineRestart(replica: Replica, previousEngineId: string): void {
    // Its gauges began anew.
    replica.engineLoad = undefined;
    this.#identities.forget(replica);
    publishEndpointRestarted({ deployment: this.#init.deployment, replica: replica.id });
    this.#init.onEngineRestart?.(replica, previousEngineId);
  }

  /** Stops the background work, turns away who waits, and closes every socket. */
  async shutdown(): Promise<void> {
    this.#stop.abort();
    this.handle.close(new DeploymentUnavailableError(this.#init.deployment, "it is shutting down"));
    await Promise.all([this.#health.stop(), this.#scraper?.stop(), this.#identities.stop()]);
    await this.replicas.destroy();
    await this.#discovering;
  }

  status(): DeploymentStatusDetails {
    const now = this.#init.clock.now();
    const replicas = [
      ...this.replicas.replicas.map((replica) => replicaStatus(replica, "RUNNING", now)),
      ...this.replicas.drainingReplicas.map((replica) => replicaStatus(replica, "STOPPING", now)),
    ];
    const replicaStates: Record<string, number> = {};
    for (const { state } of replicas) replicaStates[state] = (replicaStates[state] ?? 0) + 1;
    const well = replicas.some(({ state, health }) => state === "RUNNING" && health === "healthy");
    return {
      status: well ? "HEALTHY" : "UNHEALTHY",
      statusTrigger: well ? "CONFIG_UPDATE_COMPLETED" : "HEALTH_CHECK_FAILED",
      message: well ? "" : "No healthy replica.",
      replicaStates,
      queued: this.handle.queued,
      replicas,
    };
  }
}

function isWell({ health }: Replica): boolean {
  return health === "healthy" || health === "probing";
}

function replicaStatus(replica: Replica, state: ReplicaStatus["state"], nowMs: number): ReplicaStatus {
  const { id, endpoint, health, inFlight, holds, engineLoad } = replica;
  return {
    id,
    url: endpoint.url,
    state,
    health,
    inFlight,
    holds,
    version: replica.version ?? null,
    servedModels: replica.servedModels?.map((model) => model.id) ?? null,
    engineLoad: engineLoad === undefined ? null : reportedLoad(engineLoad, nowMs),
  };
}

function reportedLoad({ running, waiting, kvCacheUsage, atMs }: EngineLoad, nowMs: number): ReportedLoad {
  return { running, waiting, kvCacheUsage, ageMs: Math.round(nowMs - atMs) };
}
