import type { ClientConfig } from "../config/client-config.ts";
import type { Endpoint } from "../config/endpoint.ts";
import type { Clock } from "../internal/clock.ts";
import type { EngineLoad, ReplicaView } from "../routing/request-router.ts";
import { EndpointClient } from "./endpoint-client.ts";
import {
  type CallOutcome,
  type OutlierDetectionOptions,
  ReplicaHealth,
  type ReplicaHealthState,
} from "./replica-health.ts";

/** What a replica tells the set it belongs to. */
export interface ReplicaObserver {
  /** It became more or less available. */
  onAvailabilityChange(replica: Replica): void;
  /** A slot became free. */
  onSlotFree(replica: Replica): void;
}

export interface ReplicaInit {
  /** Unique within its deployment. */
  readonly id: string;
  readonly deployment: string;
  readonly endpoint: Endpoint;
  readonly client: ClientConfig;
  readonly maxOngoingRequests: number;
  readonly outlierDetection: OutlierDetectionOptions;
  readonly clock: Clock;
  readonly observer: ReplicaObserver;
}

const none: ReadonlySet<string> = new Set();
const noLabels: Readonly<Record<string, string>> = {};

/** An endpoint as one deployment sees it: identity, health, requests in flight, scraped load. */
export class Replica implements ReplicaView {
  readonly id: string;
  /** `Deployment#replica`, for errors and logs. */
  readonly fullName: string;
  readonly endpoint: Endpoint;
  readonly http: EndpointClient;
  readonly maxOngoingRequests: number;
  readonly rank: number | undefined;
  readonly pairGroup: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  multiplexedModelIds: ReadonlySet<string> = none;
  engineLoad: EngineLoad | undefined;
  /** `remote_engine_id` last seen from it; a change means that the engine restarted. */
  engineId: string | undefined;
  readonly #observer: ReplicaObserver;
  readonly #health: ReplicaHealth;
  #inFlight = 0;
  #holds = 0;
  #draining = false;
  #onDrained: (() => void) | undefined;

  constructor(init: ReplicaInit) {
    this.id = init.id;
    this.fullName = `${init.deployment}#${init.id}`;
    this.endpoint = init.endpoint;
    this.maxOngoingRequests = init.maxOngoingRequests;
    this.rank = init.endpoint.rank;
    this.pairGroup = init.endpoint.pairGroup;
    this.labels = init.endpoint.labels ?? noLabels;
    this.#observer = init.observer;
    this.http = new EndpointClient(init.endpoint, init.client, this.fullName);
    this.#health = new ReplicaHealth(init.clock, init.outlierDetection, () => this.#observer.onAvailabilityChange(this));
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get draining(): boolean {
    return this.#draining;
  }

  get health(): ReplicaHealthState {
    return this.#health.state;
  }

  get ejections(): number {
    return this.#health.ejections;
  }

  /** True when one more request may be sent. While probing, one at a time. */
  get hasFreeSlot(): boolean {
    return this.#inFlight < (this.#health.state === "probing" ? 1 : this.maxOngoingRequests);
  }

  /** Takes one slot. The caller has checked {@link hasFreeSlot}. */
  lease(): ReplicaLease {
    this.#inFlight += 1;
    return new ReplicaLease(this);
  }

  /** @internal Called by the lease, once. */
  releaseSlot(outcome: CallOutcome): void {
    this.#inFlight -= 1;
    this.#health.record(outcome);
    this.#observer.onSlotFree(this);
    this.#checkDrained();
  }

  /** The verdict of the health checks. */
  setChecked(healthy: boolean): void {
    this.#health.setChecked(healthy);
  }

  /** KV blocks pinned on this engine for a request: it must not go away before they are picked up. */
  addHold(): void {
    this.#holds += 1;
  }

  removeHold(): void {
    this.#holds -= 1;
    this.#checkDrained();
  }

  /** Takes no new requests; resolves when the running ones and the KV holds are gone and the sockets closed. */
  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#inFlight > 0 || this.#holds > 0) {
      await new Promise<void>((resolve) => {
        this.#onDrained = resolve;
      });
    }
    this.#health.dispose();
    await this.http.close();
  }

  /** Closes every socket now. */
  async destroy(): Promise<void> {
    this.#draining = true;
    this.#health.dispose();
    await this.http.destroy();
    this.#onDrained?.();
  }

  #checkDrained(): void {
    if (this.#draining && this.#inFlight === 0 && this.#holds === 0) this.#onDrained?.();
  }
}

/** The right to one slot on one replica. Bound to the replica itself, so a removed and re-added endpoint is not confused. */
export class ReplicaLease {
  readonly replica: Replica;
  /** Called once, when the slot has been given back. */
  onReleased: (() => void) | undefined;
  #released = false;

  constructor(replica: Replica) {
    this.replica = replica;
  }

  get released(): boolean {
    return this.#released;
  }

  /** Gives the slot back. Only the first call counts. */
  release(outcome: CallOutcome): void {
    if (this.#released) return;
    this.#released = true;
    this.replica.releaseSlot(outcome);
    this.onReleased?.();
  }
}
