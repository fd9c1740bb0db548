import { DeploymentUnavailableError } from "../errors/deployment-unavailable-error.ts";
import { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import type { RoutingCandidate, RoutingChoice } from "../observability/request-trace.ts";
import type { Replica, ReplicaLease } from "../replicas/replica.ts";
import type { ReplicaSet } from "../replicas/replica-set.ts";
import type { PendingRequest, ReplicaView, RequestRouter } from "../routing/request-router.ts";
import { AdmissionQueue } from "./admission-queue.ts";

/** What a {@link DeploymentHandle} is made from. */
export interface DeploymentHandleInit {
  /** Name of the deployment, for errors, logs and metrics. */
  readonly deployment: string;
  readonly router: RequestRouter;
  readonly clock: Clock;
  readonly maxQueuedRequests: number;
  readonly rejectStatus: number;
  readonly retryAfterS: number | undefined;
  /** Milliseconds a request may wait for a slot. */
  readonly queueTimeoutMs: number;
  /** Milliseconds a request may wait for a first replica. */
  readonly unavailableTimeoutMs: number;
  /** True when a deployment without a replica will have one soon, so that requests are worth holding. */
  readonly expectsReplica?: (() => boolean) | undefined;
  /** Hears of what a router did wrong where no request can be told. */
  readonly warn: (message: string) => void;
}

/** Limits on which replica will do for one request. */
export interface LeaseConstraints {
  /** Replicas that failed this request already; used again only when nothing else is left. */
  readonly avoid?: ReadonlySet<string> | undefined;
  /** Only replicas of this pair group. */
  readonly pairGroup?: string | undefined;
  /** Only replicas that have this LoRA adapter, or did not say yet which they have. */
  readonly adapterId?: string | undefined;
  /** Leaves those of the candidates that are worth taking, which may be none. Asked again for every try. */
  readonly narrow?: ((candidates: readonly Replica[]) => readonly Replica[]) | undefined;
  /** Lower goes first while waiting. @default 0 */
  readonly priority?: number | undefined;
}

/**
 * How one deployment calls another: admission, routing, and a lease on one replica.
 *
 * Mirrors Ray's `DeploymentHandle` as far as choosing goes; the call itself is made through the lease's replica.
 */
export class DeploymentHandle {
  readonly deployment: string;
  #router: RequestRouter;
  readonly #queue: AdmissionQueue<ReplicaLease>;
  readonly #init: DeploymentHandleInit;
  #replicas: ReplicaSet | undefined;
  #closed: ServeLLMError | undefined;

  constructor(init: DeploymentHandleInit) {
    this.deployment = init.deployment;
    this.#init = init;
    this.#router = init.router;
    this.#queue = new AdmissionQueue({
      deployment: init.deployment,
      maxQueuedRequests: init.maxQueuedRequests,
      rejectStatus: init.rejectStatus,
      retryAfterS: init.retryAfterS,
      clock: init.clock,
    });
  }

  /** Requests waiting for a slot. */
  get queued(): number {
    return this.#queue.length;
  }

  /** Connects it to its replicas. Called once, by the deployment that owns both. */
  attach(replicas: ReplicaSet): void {
    this.#replicas = replicas;
  }

  /** Puts another router in the place of the first one. Before the first replica comes. */
  set router(router: RequestRouter) {
    this.#router = router;
  }

  onReplicasChange(available: readonly Replica[]): void {
    try {
      this.#router.updateReplicas?.(available);
    } catch (error) {
      this.#warnAboutRouter("updateReplicas", error);
    }
    this.#queue.wake();
  }

  /** What these replicas had cached is gone. */
  onCachesLost(replicaIds: ReadonlySet<string>): void {
    try {
      this.#router.onCachesLost?.(replicaIds);
    } catch (error) {
      this.#warnAboutRouter("onCachesLost", error);
    }
  }

  onSlotFree(): void {
    if (this.#queue.length > 0) this.#queue.wake();
  }

  /**
   * Takes a slot on a replica; waits in line when all are busy. Returns the lease itself, not a promise, when one
   * is free: the ordinary case costs nothing.
   *
   * @throws BackPressureError, DeploymentUnavailableError, or the token's error
   */
  acquire(
    request: PendingRequest,
    cancel: CancelToken,
    constraints: LeaseConstraints = {},
  ): ReplicaLease | Promise<ReplicaLease> {
    if (this.#closed !== undefined) throw this.#closed;
    cancel.throwIfCancelled();
    // Nobody overtakes those who wait already.
    if (this.#queue.length === 0) {
      const lease = this.#tryTake(request, constraints, undefined);
      if (lease !== undefined) return lease;
    }
    const nobody = this.#replicas === undefined || this.#replicas.available.length === 0;
    const timeoutMs = nobody ? this.#init.unavailableTimeoutMs : this.#init.queueTimeoutMs;
    const since = this.#init.clock.now();
    const lease = this.#queue.wait({
      priority: constraints.priority ?? 0,
      cancel,
      timeoutMs,
      onTimeout: () => this.#timeoutError(timeoutMs),
      attempt: () => this.#tryTake(request, constraints, since),
      picky:
        constraints.pairGroup !== undefined ||
        constraints.adapterId !== undefined ||
        constraints.narrow !== undefined ||
        (constraints.avoid?.size ?? 0) > 0,
    });
    // Those ahead may all wait for slots that this one does not want.
    if (this.#queue.hasPicky) this.#queue.wake();
    return lease;
  }

  /** True when some replica would do, busy or not, or when the deployment scales up from zero. */
  hasReplicaFor(constraints: LeaseConstraints): boolean {
    if (this.#candidates(constraints).length > 0) return true;
    const none = this.#replicas === undefined || this.#replicas.available.length === 0;
    return none && this.#init.expectsReplica?.() === true;
  }

  /** True when there is an available replica that is not among these. */
  hasReplicaBeside(ids: ReadonlySet<string>): boolean {
    return this.#replicas?.available.some((replica) => !ids.has(replica.id)) ?? false;
  }

  /** Refuses new requests and turns away those that wait. */
  close(error: ServeLLMError): void {
    this.#closed = error;
    this.#queue.rejectAll(error);
  }

  /** @param since when it began to wait; undefined when it did not */
  #tryTake(
    request: PendingRequest,
    constraints: LeaseConstraints,
    since: number | undefined,
  ): ReplicaLease | undefined {
    const candidates = this.#candidates(constraints);
    if (candidates.length === 0) return undefined;
    const ranks = this.#ranks(candidates, request);
    const replica = firstFree(ranks) ?? leastBusyFree(candidates);
    if (replica === undefined) return undefined;
    const choice: RoutingChoice = {
      considered: candidates.length,
      ranked: this.#mostPreferred(ranks, request),
      queuedMs: since === undefined ? 0 : this.#init.clock.now() - since,
    };
    try {
      this.#router.onRequestRouted?.(request, replica.id);
    } catch (cause) {
      throw this.#routerFailed(cause);
    }
    const lease = replica.lease();
    lease.choice = choice;
    if (this.#router.onRequestCompleted !== undefined)
      lease.onReleased = () => this.#onCompleted(request, replica.id);
    return lease;
  }

  /** The first few of the router's ranking as they are now, for the request's trace. */
  #mostPreferred(ranks: Ranks, request: PendingRequest): readonly RoutingCandidate[] {
    const preferred: RoutingCandidate[] = [];
    for (const rank of ranks) {
      for (const view of rank) {
        if (preferred.length === tracedCandidates) return preferred;
        const { id, inFlight, engineLoad } = view;
        preferred.push({ replica: id, inFlight, engineLoad, scores: this.#scores(view, request) });
      }
    }
    return preferred;
  }

  #scores(view: ReplicaView, request: PendingRequest): RoutingCandidate["scores"] {
    try {
      return this.#router.scores?.(view, request);
    } catch (error) {
      this.#warnAboutRouter("scores", error);
      return undefined;
    }
  }

  #onCompleted(request: PendingRequest, replicaId: string): void {
    try {
      this.#router.onRequestCompleted?.(request, replicaId);
    } catch (error) {
      this.#warnAboutRouter("onRequestCompleted", error);
    }
  }

  #candidates(constraints: LeaseConstraints): readonly Replica[] {
    let candidates = this.#replicas?.available ?? [];
    const { pairGroup, avoid, adapterId, narrow } = constraints;
    if (adapterId !== undefined) {
      candidates = candidates.filter(
        (replica) => replica.servedModels === undefined || replica.multiplexedModelIds.has(adapterId),
      );
    }
    if (pairGroup !== undefined) {
      candidates = candidates.filter(
        (replica) => replica.pairGroup === undefined || replica.pairGroup === pairGroup,
      );
    }
    if (avoid !== undefined && avoid.size > 0) {
      const fresh = candidates.filter((replica) => !avoid.has(replica.id));
      if (fresh.length > 0) candidates = fresh;
    }
    return narrow === undefined || candidates.length === 0 ? candidates : narrow(candidates);
  }

  #ranks(candidates: readonly Replica[], request: PendingRequest): Ranks {
    try {
      return this.#router.chooseReplicas(candidates, request);
    } catch (cause) {
      throw this.#routerFailed(cause);
    }
  }

  #routerFailed(cause: unknown): ServeLLMError {
    return new ServeLLMError(`The request router of deployment "${this.deployment}" failed.`, {
      code: "router_failed",
      status: 500,
      type: "internal_error",
      cause,
    });
  }

  #warnAboutRouter(method: string, error: unknown): void {
    this.#init.warn(
      `The request router of deployment "${this.deployment}" failed in ${method}: ${String(error)}`,
    );
  }

  #timeoutError(timeoutMs: number): ServeLLMError {
    const nobody = this.#replicas === undefined || this.#replicas.available.length === 0;
    return nobody
      ? new DeploymentUnavailableError(this.deployment, whyNobody(this.#replicas))
      : new DeploymentUnavailableError(this.deployment, `no slot became free within ${timeoutMs} ms`, {
          code: "queue_timeout",
        });
  }
}

function whyNobody(set: ReplicaSet | undefined): string {
  const idle = set?.replicas.some(({ suspension }) => suspension.state !== undefined) === true;
  return idle ? "its engines sleep or are paused" : "it has no replica";
}

type Ranks = readonly (readonly ReplicaView[])[];

function firstFree(ranks: Ranks): Replica | undefined {
  for (const rank of ranks) {
    for (const view of rank) {
      const replica = view as Replica;
      if (replica.hasFreeSlot) return replica;
    }
  }
  return undefined;
}

const tracedCandidates = 4;

/** The router's choice is busy; a free replica elsewhere beats waiting. */
function leastBusyFree(candidates: readonly Replica[]): Replica | undefined {
  let best: Replica | undefined;
  for (const replica of candidates) {
    if (replica.hasFreeSlot && (best === undefined || replica.inFlight < best.inFlight)) best = replica;
  }
  return best;
}
