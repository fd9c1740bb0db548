import type { ClientConfig } from "../config/client-config.ts";
import { type Discovery, type EndpointInit, parseEndpoints } from "../config/endpoint.ts";
import { DeploymentUnavailableError } from "../errors/deployment-unavailable-error.ts";
import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import { publishEndpointRestarted } from "../observability/channels.ts";
import { EngineIdentities } from "../replicas/engine-identity.ts";
import { HealthChecker } from "../replicas/health-checker.ts";
import { LoadScraper } from "../replicas/load-scraper.ts";
import { ReplicaSet, type ReplicaGate } from "../replicas/replica-set.ts";
import type { Replica } from "../replicas/replica.ts";
import { defaultOutlierDetection, type OutlierDetectionOptions } from "../replicas/replica-health.ts";
import type { RequestRouter } from "../routing/request-router.ts";
import { AvailabilityWarnings, isWell } from "./availability-warnings.ts";
import { DeploymentHandle } from "./deployment-handle.ts";
import type { DeploymentControl, DeploymentStatusDetails } from "./deployment-context.ts";
import { scalingContext } from "./scaling-context.ts";
import { noSuchReplica } from "./no-such-replica.ts";
import { PoolEndpoints, type PoolEndpointsInit } from "./pool-endpoints.ts";
import { PoolScaling, type PoolScalingOptions } from "./pool-scaling.ts";
import { poolStatus } from "./pool-status.ts";

/** What an {@link EnginePool} is made from. */
export interface EnginePoolInit extends PoolEndpointsInit {
  readonly endpoints: Discovery;
  /** Undefined: others decide how many engines there are. */
  readonly scaling?: PoolScalingOptions | undefined;
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
}

/**
 * The engines of one deployment: where they are, how they are, and the handle through which requests get one.
 *
 * All background work of a deployment starts in {@link start} and is over when {@link shutdown} resolves.
 */
export class EnginePool implements DeploymentControl {
  readonly handle: DeploymentHandle;
  readonly replicas: ReplicaSet;
  /** Which side of prefill/decode it is; set by who orchestrates both, before the start. */
  role: "prefill" | "decode" | undefined;
  /** Called when an engine has said which version and models it has; set by who compares pools. */
  onIdentified: (() => void) | undefined;
  /** Called when what some replicas had cached is gone; set by who remembers which prompts went where. */
  onCachesLost: ((replicaIds: ReadonlySet<string>) => void) | undefined;
  /** Called when an engine was restarted; set by who keeps account of pairs of engines. */
  onRestarted: ((replica: Replica) => void) | undefined;
  readonly #init: EnginePoolInit;
  readonly #health: HealthChecker;
  readonly #identities: EngineIdentities;
  readonly #scraper: LoadScraper | undefined;
  readonly #scaling: PoolScaling | undefined;
  readonly #wanted: PoolEndpoints;
  readonly #warnings: AvailabilityWarnings;
  readonly #stop = new AbortController();
  #starting: Promise<void> | undefined;
  #onReady: (() => void) | undefined;
  #discovering: Promise<void> = Promise.resolve();

  constructor(init: EnginePoolInit) {
    this.#init = init;
    this.#wanted = new PoolEndpoints(init);
    this.#warnings = new AvailabilityWarnings(init.deployment, init.warn);
    this.handle = new DeploymentHandle({
      deployment: init.deployment,
      router: init.router,
      clock: init.clock,
      maxQueuedRequests: init.maxQueuedRequests,
      rejectStatus: init.rejectStatus,
      retryAfterS: init.retryAfterS,
      queueTimeoutMs: init.client.queueTimeoutMs,
      unavailableTimeoutMs:
        init.scaling === undefined ? init.client.unavailableTimeoutMs : init.client.coldStartTimeoutMs,
      expectsReplica: () => this.#scaling?.mayStart === true,
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
        onOtherRank: ({ fullName }, rank) =>
          init.warn(`${fullName} does not heed X-data-parallel-rank: rank ${rank} answered for it.`),
        onDrainTimeout: (replica, limitMs) => this.#warnings.drainTimeout(replica, limitMs),
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
    if (init.scaling !== undefined) this.#scaling = this.#makeScaling(init.scaling);
  }

  /** Checks the health of every replica now. */
  checkNow(): Promise<void> {
    return this.#health.checkNow();
  }

  /** What new replicas go through before they get requests. Set before the start. */
  set gate(gate: ReplicaGate | undefined) {
    this.replicas.gate = gate;
  }

  /**
   * Resolves when the first set of endpoints is known; nobody waits for the engines to be checked. With a gate it also
   * waits until a replica has passed it. Safe to call again; after a failure it tries once more.
   */
  start(): Promise<void> {
    this.#starting ??= this.#start().catch((error: unknown) => {
      this.#starting = undefined;
      throw error;
    });
    return this.#starting;
  }

  /** What these replicas had in their prefix caches is gone: nobody is sent to them for it any more. */
  forgetCaches(replicas: readonly Replica[]): void {
    const ids = new Set(replicas.map(({ id }) => id));
    this.handle.onCachesLost(ids);
    this.onCachesLost?.(ids);
  }

  /**
   * Sets the endpoints by hand, from now on instead of what discovery finds: what is missing drains, what is new
   * joins, what stays is not touched. Null gives the pool back to discovery.
   *
   * @returns settles when the replicas that left have drained
   * @throws ConfigurationError naming every bad endpoint; nothing has changed then
   */
  async setEndpoints(endpoints: readonly (string | EndpointInit)[] | null): Promise<void> {
    const parsed = endpoints === null ? null : parseEndpoints(endpoints);
    this.#refuseWhenStopped();
    this.#wanted.fix(parsed);
    await this.#reconcile();
  }

  /**
   * Takes a replica out of service: no new requests, running ones go on. It stays out until
   * {@link setEndpoints} names it, or discovery dropped it and found it again.
   *
   * @returns settles when its last request is over and, on prefill, decode has fetched the last KV from it
   * @throws ConfigurationError when there is no such replica
   */
  drain(replicaId: string): Promise<void> {
    return this.#drain(replicaId);
  }

  /** @param limitMs milliseconds until what still uses it fails; undefined: none */
  async #drain(replicaId: string, limitMs?: number): Promise<void> {
    const leaving = this.replicas.drainingReplicas.find(({ id }) => id === replicaId);
    const replica = leaving ?? this.#find(replicaId);
    if (leaving === undefined) this.#wanted.takeOut(replica.endpoint);
    await this.#leave(this.replicas.drain(replica, limitMs));
  }

  /** As {@link drain}, at once: requests that run on it fail. @throws ConfigurationError when there is no such replica */
  async remove(replicaId: string): Promise<void> {
    const replica =
      this.replicas.drainingReplicas.find(({ id }) => id === replicaId) ?? this.#find(replicaId);
    this.#wanted.takeOut(replica.endpoint);
    await this.#leave(this.replicas.remove(replica));
  }

  async #start(): Promise<void> {
    this.#refuseWhenStopped();
    await this.#scaling?.start();
    await new Promise<void>((resolve, reject) => {
      this.#discovering = this.#discover(resolve).catch((error: unknown) => {
        if (this.#stop.signal.aborted) return resolve();
        // Before the first snapshot this fails the start; later the last known endpoints stay in use.
        reject(error instanceof Error ? error : new Error(String(error)));
        this.#init.warn(`Discovery of deployment "${this.#init.deployment}" ended: ${String(error)}`);
      });
    });
    await this.#untilReady();
  }

  async #discover(onFirst: () => void): Promise<void> {
    const { signal } = this.#stop;
    for await (const endpoints of this.#init.endpoints(signal, this.#init)) {
      if (signal.aborted) break;
      this.#wanted.discovered(endpoints);
      // Replicas that left drain in the background; shutdown waits for them.
      void this.#reconcile();
      onFirst();
    }
    onFirst();
  }

  /** Waits for replicas that are behind a gate, as long as none is available. */
  async #untilReady(): Promise<void> {
    while (this.#isWarming() && !this.#stop.signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#onReady = resolve;
      });
    }
  }

  #isWarming(): boolean {
    return this.replicas.available.length === 0 && this.replicas.startingReplicas.size > 0;
  }

  #reconcile(): Promise<void> {
    return this.#leave(this.replicas.reconcile(this.#wanted.wanted));
  }

  async #leave(left: Promise<void>): Promise<void> {
    this.#health.sync(this.replicas.replicas);
    this.#scraper?.sync(this.replicas.replicas);
    try {
      await left;
    } catch (error) {
      this.#init.warn(`A replica of "${this.#init.deployment}" did not close cleanly: ${String(error)}`);
    }
    this.#scaling?.onPoolChange();
  }

  #find(replicaId: string): Replica {
    const replica = this.replicas.find(replicaId);
    if (replica !== undefined) return replica;
    throw noSuchReplica(this.#init.deployment, replicaId, this.replicas.replicas);
  }

  #refuseWhenStopped(): void {
    if (!this.#stop.signal.aborted) return;
    throw new DeploymentUnavailableError(this.#init.deployment, "it is shutting down");
  }

  #onReplicasChange(available: readonly Replica[]): void {
    this.#warnings.observe(this.replicas);
    this.handle.onReplicasChange(available);
    this.#scaling?.onPoolChange();
    if (!this.#isWarming()) this.#onReady?.();
    this.#identities.observe(this.replicas.replicas);
  }

  #onEngineRestart(replica: Replica, previousEngineId: string): void {
    // Its gauges began anew.
    replica.engineLoad = undefined;
    this.forgetCaches([replica]);
    this.#identities.forget(replica);
    publishEndpointRestarted({ deployment: this.#init.deployment, replica: replica.id });
    this.#init.onEngineRestart?.(replica, previousEngineId);
    this.onRestarted?.(replica);
    // Ranks behind one URL are one server. They hear of it now, not each with its own next answer.
    for (const other of this.replicas.replicas) {
      if (other.endpoint.url === replica.endpoint.url) other.engineId = replica.engineId;
    }
  }

  /** Stops the background work, turns away who waits, and closes every socket. */
  async shutdown(): Promise<void> {
    this.#stop.abort();
    this.#onReady?.();
    this.handle.close(new DeploymentUnavailableError(this.#init.deployment, "it is shutting down"));
    await Promise.all([
      this.#health.stop(),
      this.#scraper?.stop(),
      this.#identities.stop(),
      this.#scaling?.stopDeciding(),
    ]);
    await this.replicas.destroy();
    await this.#scaling?.stopTarget();
    await this.#discovering;
  }

  status(): DeploymentStatusDetails {
    return poolStatus({
      replicas: this.replicas,
      queued: this.handle.queued,
      scaling: this.#scaling,
      nowMs: this.#init.clock.now(),
    });
  }

  #makeScaling(options: PoolScalingOptions): PoolScaling {
    const { deployment, clock, warn } = this.#init;
    return new PoolScaling({
      ...options,
      deployment,
      clock,
      warn,
      load: () => ({
        queued: this.handle.queued,
        running: new Map(this.#running().map(({ id, inFlight }) => [id, inFlight])),
      }),
      observe: () => {
        const running = this.#running();
        return {
          running: running.length,
          well: running.filter(isWell).length,
          changing: this.replicas.startingReplicas.size + this.replicas.drainingReplicas.length,
        };
      },
      context: scalingContext({
        ...this.#init,
        replicas: this.replicas,
        engine: {
          ...options.engine,
          command: (given) => options.engine.command({ role: this.role, ...given }),
        },
        drainReplica: (id) => this.#drain(id, options.drainTimeoutMs),
        readmit: (matches) => {
          this.#wanted.putBack(matches);
          if (!this.#stop.signal.aborted) void this.#reconcile();
        },
      }),
    });
  }

  /** Replicas that get requests: Ray's `RUNNING`. */
  #running(): readonly Replica[] {
    const starting = this.replicas.startingReplicas;
    return this.replicas.replicas.filter((replica) => !starting.has(replica));
  }
}
