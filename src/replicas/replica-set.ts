import type { ClientConfig } from "../config/client-config.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import { EndpointConnections } from "./endpoint-connections.ts";
import type { RankEndpoint } from "./rank-assignment.ts";
import { type BrokenGroup, judgeGroups } from "./rank-groups.ts";
import { Replica, type ReplicaObserver } from "./replica.ts";
import type { OutlierDetectionOptions } from "./replica-health.ts";

/** What the set tells its owner. */
export interface ReplicaSetObserver {
  /** Replicas came, went, or changed their availability. */
  onReplicasChange(available: readonly Replica[]): void;
  /** Somewhere a slot became free. */
  onSlotFree(): void;
  /** An engine was restarted: its `remote_engine_id` is another one than before. */
  onEngineRestart?(replica: Replica, previousEngineId: string): void;
  /** A server does not heed `X-data-parallel-rank`. Told once for each replica. */
  onOtherRank?(replica: Replica, rank: number): void;
  /** It had not drained when its time was over: what still uses it ends now. */
  onDrainTimeout?(replica: Replica, limitMs: number): void;
}

/** What a {@link ReplicaSet} gives every replica it makes. */
export interface ReplicaSetInit {
  readonly deployment: string;
  readonly client: ClientConfig;
  readonly maxOngoingRequests: number;
  readonly outlierDetection: OutlierDetectionOptions;
  readonly clock: Clock;
  readonly observer: ReplicaSetObserver;
}

/**
 * What a new replica has to go through before it gets requests, for example warming up. It gets requests when the
 * promise settles, however it does; the token is cancelled when the replica leaves before that.
 */
export type ReplicaGate = (replica: Replica, cancel: CancelToken) => Promise<void>;

/**
 * The replicas of one deployment. Fed with complete snapshots of endpoints; keeps what stayed, adds what is new,
 * drains what is gone. An endpoint that came back is a new replica, and so is one whose settings changed.
 */
export class ReplicaSet implements ReplicaObserver {
  readonly #init: ReplicaSetInit;
  readonly #byKey = new Map<string, Replica>();
  readonly #draining = new Map<Replica, Promise<void>>();
  readonly #starting = new Map<Replica, CancelToken>();
  /** Put in before the first endpoints come. Absent: a new replica gets requests at once. */
  gate: ReplicaGate | undefined;
  readonly #connections = new Map<string, EndpointConnections>();
  #available: readonly Replica[] = [];
  #brokenGroups: readonly BrokenGroup[] = [];

  constructor(init: ReplicaSetInit) {
    this.#init = init;
  }

  /** All replicas that are not leaving, well or not. */
  get replicas(): readonly Replica[] {
    return [...this.#byKey.values()];
  }

  get drainingReplicas(): readonly Replica[] {
    return [...this.#draining.keys()];
  }

  /** Replicas that did not pass the gate yet; they are among {@link replicas}, but never available. */
  get startingReplicas(): ReadonlySet<Replica> {
    return new Set(this.#starting.keys());
  }

  /** The replica with this id, unless it is leaving. */
  find(id: string): Replica | undefined {
    return this.replicas.find((replica) => replica.id === id);
  }

  /**
   * Replicas a request may go to: the well ones and those being probed; when there are none, all that have started,
   * since a doubtful replica is better than a certain refusal. Of data-parallel ranks only those of whole groups. Never
   * those whose engines sleep or are paused.
   */
  get available(): readonly Replica[] {
    return this.#available;
  }

  /** Groups of data-parallel ranks that are out of service as a whole. */
  get brokenGroups(): readonly BrokenGroup[] {
    return this.#brokenGroups;
  }

  /** Makes the set equal to a snapshot. The promise settles when replicas that left have drained. */
  reconcile(endpoints: readonly RankEndpoint[]): Promise<void> {
    const wanted = new Map(endpoints.map((endpoint) => [endpointKey(endpoint), endpoint]));
    const drained: Promise<void>[] = [];
    for (const [key, replica] of this.#byKey) {
      const endpoint = wanted.get(key);
      if (endpoint !== undefined && sameSettings(endpoint, replica.endpoint)) continue;
      this.#byKey.delete(key);
      drained.push(this.#drain(replica));
    }
    const added: Replica[] = [];
    for (const [key, endpoint] of wanted) {
      if (this.#byKey.has(key)) continue;
      // Its engine stays after all.
      for (const leaving of this.#draining.keys()) {
        if (endpointKey(leaving.endpoint) === key) leaving.limitDrain(undefined);
      }
      const replica = this.#create(endpoint);
      this.#byKey.set(key, replica);
      if (this.gate !== undefined) this.#starting.set(replica, new CancelToken());
      added.push(replica);
    }
    this.#refresh();
    // Begun when all are there, so that a gate sees the whole set.
    for (const replica of added) this.#passGate(replica);
    return Promise.all(drained).then(() => undefined);
  }

  /**
   * Takes one replica out; resolves when it has drained. It comes back, as a new one, with the next {@link reconcile}
   * that names it.
   *
   * @param limitMs milliseconds until what still uses it fails, also when it drains already; it no longer holds when
   *   the endpoint comes back meanwhile. Undefined: none
   */
  drain(replica: Replica, limitMs?: number): Promise<void> {
    const leaving = this.#draining.get(replica);
    if (limitMs !== undefined) replica.limitDrain(limitMs);
    if (leaving !== undefined) return leaving;
    this.#byKey.delete(endpointKey(replica.endpoint));
    const drained = this.#drain(replica);
    this.#refresh();
    return drained;
  }

  /** Takes one replica out at once: what runs on it fails, and its sockets close. */
  async remove(replica: Replica): Promise<void> {
    const drained = this.drain(replica);
    await replica.destroy();
    await drained;
  }

  onAvailabilityChange(): void {
    this.#refresh();
  }

  onSlotFree(): void {
    this.#init.observer.onSlotFree();
  }

  onEngineRestart(replica: Replica, previousEngineId: string): void {
    this.#init.observer.onEngineRestart?.(replica, previousEngineId);
  }

  onOtherRank(replica: Replica, rank: number): void {
    this.#init.observer.onOtherRank?.(replica, rank);
  }

  onDrainTimeout(replica: Replica, limitMs: number): void {
    this.#init.observer.onDrainTimeout?.(replica, limitMs);
  }

  /** Drains every replica; resolves when all sockets are closed. */
  async drainAll(): Promise<void> {
    await this.reconcile([]);
    await Promise.all(this.#draining.values());
  }

  /** Closes every socket now, of leaving replicas too. */
  async destroy(): Promise<void> {
    const all = [...this.#byKey.values(), ...this.#draining.keys()];
    this.#byKey.clear();
    for (const replica of all) this.#leaveGate(replica);
    this.#refresh();
    await Promise.all(all.map((replica) => replica.destroy()));
    await Promise.all(this.#draining.values());
  }

  #create(endpoint: RankEndpoint): Replica {
    const name =
      endpoint.name ?? new URL(endpoint.url).host + (endpoint.rank === undefined ? "" : `/${endpoint.rank}`);
    const taken = new Set([...this.#byKey.values(), ...this.#draining.keys()].map((replica) => replica.id));
    let id = name;
    for (let number = 2; taken.has(id); number += 1) id = `${name}-${number}`;
    return new Replica({
      id,
      deployment: this.#init.deployment,
      endpoint,
      client: this.#init.client,
      connections: this.#sharedConnections(endpoint),
      maxOngoingRequests: this.#init.maxOngoingRequests,
      outlierDetection: this.#init.outlierDetection,
      clock: this.#init.clock,
      observer: this,
    });
  }

  /** Ranks behind one URL share its connections. */
  #sharedConnections({ url, place }: RankEndpoint): EndpointConnections | undefined {
    if (place?.localRank === undefined) return undefined;
    for (const [other, { unused }] of this.#connections) if (unused) this.#connections.delete(other);
    const known = this.#connections.get(url);
    if (known !== undefined) return known;
    const made = new EndpointConnections(url, this.#init.client);
    this.#connections.set(url, made);
    return made;
  }

  #passGate(replica: Replica): void {
    const cancel = this.#starting.get(replica);
    if (cancel === undefined || this.gate === undefined) return;
    const pass = (): void => {
      if (!this.#starting.delete(replica)) return;
      this.#refresh();
    };
    // Whoever put the gate in reports what goes wrong there.
    this.gate(replica, cancel).then(pass, pass);
  }

  #leaveGate(replica: Replica): void {
    const cancel = this.#starting.get(replica);
    this.#starting.delete(replica);
    cancel?.cancel(new RequestCancelledError("its replica has left"));
  }

  #drain(replica: Replica): Promise<void> {
    this.#leaveGate(replica);
    const done = replica.drain().finally(() => this.#draining.delete(replica));
    this.#draining.set(replica, done);
    return done;
  }

  #refresh(): void {
    const all = [...this.#byKey.values()].filter((replica) => !this.#starting.has(replica));
    const { inService, broken } = judgeGroups(all);
    const awake = inService.filter(({ suspension }) => suspension.state === undefined);
    const well = awake.filter(({ health }) => health === "healthy" || health === "probing");
    this.#brokenGroups = broken;
    this.#available = well.length > 0 ? well : awake;
    this.#init.observer.onReplicasChange(this.#available);
  }
}

/** What makes an endpoint the same one as before: URL and rank. */
export function endpointKey(endpoint: RankEndpoint): string {
  return `${endpoint.url} ${endpoint.rank ?? ""}`;
}

function sameSettings(a: RankEndpoint, b: RankEndpoint): boolean {
  return a === b || settings(a) === settings(b);
}

/** Everything that makes an endpoint what it is, in an order of its own. */
function settings(endpoint: RankEndpoint): string {
  const { name, apiKey, headers, labels, pairGroup, dpRanks, kvMetadata, place } = endpoint;
  const sorted = (map: Readonly<Record<string, unknown>> = {}): readonly unknown[] =>
    Object.entries(map).toSorted(([one], [other]) => (one < other ? -1 : 1));
  return JSON.stringify([
    name,
    apiKey,
    sorted(headers),
    sorted(labels),
    pairGroup,
    dpRanks,
    sorted(kvMetadata),
    sorted({ ...place }),
  ]);
}
