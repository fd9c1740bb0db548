import type { ClientConfig } from "../config/client-config.ts";
import type { Clock, Timer } from "../internal/clock.ts";
import type { RoutingChoice } from "../observability/request-trace.ts";
import { hash32 } from "../routing/murmur3.ts";
import type { EngineLoad, ReplicaView } from "../routing/request-router.ts";
import { EndpointClient } from "./endpoint-client.ts";
import type { EndpointConnections } from "./endpoint-connections.ts";
import type { RankEndpoint, RankPlace } from "./rank-assignment.ts";
import type { ServedModel } from "./served-model.ts";
import {
  type CallOutcome,
  type OutlierDetectionOptions,
  ReplicaHealth,
  type ReplicaHealthState,
} from "./replica-health.ts";
import { Suspension } from "./suspension.ts";

/** What a replica tells the set it belongs to. */
export interface ReplicaObserver {
  /** It became more or less available. */
  onAvailabilityChange(replica: Replica): void;
  /** A slot became free. */
  onSlotFree(replica: Replica): void;
  /** Its engine has another id than before, so it was restarted: what it had cached or loaded is gone. */
  onEngineRestart?(replica: Replica, previousEngineId: string): void;
  /** Another data-parallel rank than itself answered: its server does not heed `X-data-parallel-rank`. Told once. */
  onOtherRank?(replica: Replica, rank: number): void;
  /** It had not drained when its time was over: what still uses it ends now. */
  onDrainTimeout?(replica: Replica, limitMs: number): void;
}

export interface ReplicaInit {
  /** Unique within its deployment. */
  readonly id: string;
  readonly deployment: string;
  readonly endpoint: RankEndpoint;
  readonly client: ClientConfig;
  /** Connections it shares with other ranks behind its URL; undefined: it has its own. */
  readonly connections?: EndpointConnections | undefined;
  readonly maxOngoingRequests: number;
  readonly outlierDetection: OutlierDetectionOptions;
  readonly clock: Clock;
  readonly observer: ReplicaObserver;
}

/** Several engines behind one URL answer in turn: ids seen before are no restart. */
const rememberedEngineIds = 16;

const none: ReadonlySet<string> = new Set();
const noLabels: Readonly<Record<string, string>> = {};

/** An endpoint as one deployment sees it: identity, health, requests in flight, scraped load. */
export class Replica implements ReplicaView {
  readonly id: string;
  /** `Deployment#replica`, for errors and logs. */
  readonly fullName: string;
  readonly deployment: string;
  /** For outsiders, to whom an endpoint's URL is no business: its `name`, or `replica-` and a hash of its id. */
  readonly publicName: string;
  readonly endpoint: RankEndpoint;
  readonly http: EndpointClient;
  readonly maxOngoingRequests: number;
  readonly rank: number | undefined;
  /** Its place in a group of data-parallel ranks; undefined: it belongs to none. */
  readonly place: RankPlace | undefined;
  readonly pairGroup: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Whether its engine was told to take no requests for now. */
  readonly suspension: Suspension;
  multiplexedModelIds: ReadonlySet<string> = none;
  engineLoad: EngineLoad | undefined;
  /** vLLM's version, from `/version`; undefined until it was asked, or when it does not say. */
  version: string | undefined;
  /** What it serves, from `/v1/models`, adapters included; undefined until it was asked. */
  get servedModels(): readonly ServedModel[] | undefined {
    return this.#servedModels;
  }

  /** Takes note of what the engine says it serves, which is also which adapters it has. */
  set servedModels(models: readonly ServedModel[] | undefined) {
    this.#servedModels = models;
    if (models !== undefined) this.multiplexedModelIds = adapterIds(models);
  }

  #servedModels: readonly ServedModel[] | undefined;
  readonly #observer: ReplicaObserver;
  readonly #health: ReplicaHealth;
  readonly #clock: Clock;
  readonly #engineIds: string[] = [];
  /** As it stood in the last handle, rank included. */
  #seenEngineId: string | undefined;
  #inFlight = 0;
  #probes = 0;
  #succeeded = 0;
  #holds = 0;
  #draining = false;
  #otherRankSeen = false;
  #onDrained: (() => void) | undefined;
  #drainLimit: { readonly endsMs: number; readonly timer: Timer } | undefined;

  constructor(init: ReplicaInit) {
    this.id = init.id;
    this.fullName = `${init.deployment}#${init.id}`;
    this.deployment = init.deployment;
    this.publicName = init.endpoint.name === undefined ? `replica-${hashOf(init.id)}` : init.id;
    this.endpoint = init.endpoint;
    this.maxOngoingRequests = init.maxOngoingRequests;
    this.rank = init.endpoint.rank;
    this.place = init.endpoint.place;
    this.pairGroup = init.endpoint.pairGroup;
    this.labels = init.endpoint.labels ?? noLabels;
    this.#observer = init.observer;
    this.#clock = init.clock;
    this.http = new EndpointClient(init.endpoint, init.client, this.fullName, init.connections);
    this.suspension = new Suspension(() => this.#observer.onAvailabilityChange(this));
    this.#health = new ReplicaHealth(init.clock, init.outlierDetection, () =>
      this.#observer.onAvailabilityChange(this),
    );
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

  /** How often outcomes ejected it, ever. */
  get totalEjections(): number {
    return this.#health.totalEjections;
  }

  /** Calls that ended well, ever. */
  get succeeded(): number {
    return this.#succeeded;
  }

  /** KV holds: requests whose blocks are pinned on this engine until decode picks them up. */
  get holds(): number {
    return this.#holds;
  }

  /** `remote_engine_id` last seen in a handle from it; undefined before the first. */
  get engineId(): string | undefined {
    return this.#engineIds.at(-1);
  }

  /** Takes note of the `remote_engine_id` of a handle; a new one is reported as a restart of the engine. */
  set engineId(seen: string | undefined) {
    if (seen === undefined || seen === this.#seenEngineId) return;
    this.#seenEngineId = seen;
    // Every data-parallel rank has an id of its own: the engine's, and the rank at its end.
    const suffix = /_dp(\d+)$/.exec(seen);
    if (suffix !== null) this.#checkRank(Number(suffix[1]));
    const id = suffix === null ? seen : seen.slice(0, suffix.index);
    const previous = this.#engineIds.at(-1);
    if (id === previous) return;
    const known = this.#engineIds.indexOf(id);
    if (known >= 0) this.#engineIds.splice(known, 1);
    this.#engineIds.push(id);
    if (this.#engineIds.length > rememberedEngineIds) this.#engineIds.shift();
    if (known < 0 && previous !== undefined) this.#observer.onEngineRestart?.(this, previous);
  }

  /** True when one more request may be sent. While probing, one probe at a time, beside what still runs from before. */
  get hasFreeSlot(): boolean {
    if (this.#health.state === "probing" && this.#probes > 0) return false;
    return this.#inFlight < this.maxOngoingRequests;
  }

  /** Takes one slot. The caller has checked {@link hasFreeSlot}. */
  lease(): ReplicaLease {
    const probe = this.#health.state === "probing";
    this.#inFlight += 1;
    if (probe) this.#probes += 1;
    return new ReplicaLease(this, probe);
  }

  /** @internal Called by the lease, once. */
  releaseSlot(outcome: CallOutcome, probe: boolean): void {
    this.#inFlight -= 1;
    if (probe) this.#probes -= 1;
    if (outcome === "success") this.#succeeded += 1;
    this.#health.record(outcome, probe);
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
    this.limitDrain(undefined);
    this.#health.dispose();
    await this.http.close();
  }

  /** Milliseconds until what still uses it is ended; undefined: it may drain as long as it takes. */
  get drainTimeLeftMs(): number | undefined {
    return this.#drainLimit === undefined
      ? undefined
      : Math.max(0, this.#drainLimit.endsMs - this.#clock.now());
  }

  /**
   * How long it may still drain from now on, in place of an earlier limit. Requests beyond it fail, KV not yet fetched
   * is given up, and {@link drain} resolves.
   *
   * @param limitMs milliseconds, 0 or more; undefined: no limit any more
   */
  limitDrain(limitMs: number | undefined): void {
    this.#drainLimit?.timer.cancel();
    this.#drainLimit = undefined;
    if (limitMs === undefined) return;
    const timer = this.#clock.setTimer(() => {
      this.#observer.onDrainTimeout?.(this, limitMs);
      void this.destroy(`was stopped before it had answered: it had ${limitMs / 1000} s to drain`);
    }, limitMs);
    this.#drainLimit = { endsMs: this.#clock.now() + limitMs, timer };
  }

  /** Closes every socket now. @param reason what its requests are told; it follows "The decode engine" */
  async destroy(reason?: string): Promise<void> {
    this.#draining = true;
    this.limitDrain(undefined);
    this.#health.dispose();
    await this.http.destroy(reason);
    this.#onDrained?.();
  }

  /** Engines count ranks in the group or behind their own URL, by version and mode. */
  #checkRank(answered: number): void {
    const localRank = this.place?.localRank;
    if (localRank === undefined || answered === this.rank || answered === localRank) return;
    if (!this.#otherRankSeen) this.#observer.onOtherRank?.(this, answered);
    this.#otherRankSeen = true;
  }

  #checkDrained(): void {
    if (this.#draining && this.#inFlight === 0 && this.#holds === 0) this.#onDrained?.();
  }
}

function hashOf(text: string): string {
  return hash32(text).toString(16).padStart(8, "0");
}

/** Ids of adapters as requests name them, `model:adapter`, whether or not the engine's names are complete. */
function adapterIds(models: readonly ServedModel[]): ReadonlySet<string> {
  return new Set(
    models.flatMap(({ id, parent }) => {
      if (parent === undefined) return [];
      return id.startsWith(`${parent}:`) ? [id] : [`${parent}:${id}`];
    }),
  );
}

/** The right to one slot on one replica. Bound to the replica itself, so a removed and re-added endpoint is not confused. */
export class ReplicaLease {
  readonly replica: Replica;
  /** It is the request that tries whether the replica is well again. */
  readonly probe: boolean;
  /** How it was found; for those who want to know why. */
  choice: RoutingChoice | undefined;
  /** Called once, when the slot has been given back. */
  onReleased: (() => void) | undefined;
  #released = false;

  constructor(replica: Replica, probe: boolean) {
    this.replica = replica;
    this.probe = probe;
  }

  get released(): boolean {
    return this.#released;
  }

  /** Gives the slot back. Only the first call counts. */
  release(outcome: CallOutcome): void {
    if (this.#released) return;
    this.#released = true;
    this.replica.releaseSlot(outcome, this.probe);
    this.onReleased?.();
  }
}
