import type { ClientConfig } from "../config/client-config.ts";
import type { Discovery, Endpoint } from "../config/endpoint.ts";
import type { Clock } from "../internal/clock.ts";
import { ReplicaSet } from "../replicas/replica-set.ts";
import type { Replica } from "../replicas/replica.ts";
import { defaultOutlierDetection, type OutlierDetectionOptions } from "../replicas/replica-health.ts";
import type { RequestRouter } from "../routing/request-router.ts";
import { DeploymentHandle } from "./deployment-handle.ts";
import type { DeploymentStatusDetails, ReplicaStatus } from "./deployment-context.ts";

export interface EnginePoolInit {
  /** Name of the deployment. */
  readonly deployment: string;
  readonly endpoints: Discovery;
  readonly client: ClientConfig;
  readonly router: RequestRouter;
  readonly clock: Clock;
  readonly maxOngoingRequests: number;
  readonly maxQueuedRequests: number;
  /** From `backpressureConfig`. */
  readonly rejectStatus: number;
  readonly retryAfterS: number | undefined;
  readonly outlierDetection?: OutlierDetectionOptions | undefined;
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
  readonly #init: EnginePoolInit;
  readonly #stop = new AbortController();
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
    });
    this.replicas = new ReplicaSet({
      deployment: init.deployment,
      client: init.client,
      maxOngoingRequests: init.maxOngoingRequests,
      outlierDetection: init.outlierDetection ?? defaultOutlierDetection,
      clock: init.clock,
      observer: this.handle,
    });
    this.handle.attach(this.replicas);
  }

  /** Resolves when the first set of endpoints is known. */
  async start(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#discovering = this.#discover(resolve).catch((error: unknown) => {
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
  }

  /** Stops the background work and closes every socket. */
  async shutdown(): Promise<void> {
    this.#stop.abort();
    await this.replicas.destroy();
    await this.#discovering;
  }

  status(): DeploymentStatusDetails {
    const replicas = [
      ...this.replicas.replicas.map((replica) => replicaStatus(replica, "RUNNING")),
      ...this.replicas.drainingReplicas.map((replica) => replicaStatus(replica, "STOPPING")),
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

function replicaStatus(replica: Replica, state: ReplicaStatus["state"]): ReplicaStatus {
  const { id, endpoint, health, inFlight } = replica;
  return { id, url: endpoint.url, state, health, inFlight };
}
