import { adapterTiers } from "./adapter-tiers.ts";
import { HashRing } from "./hash-ring.ts";
import { replicaLoad } from "./replica-load.ts";
import type { PendingRequest, ReplicaView, RequestRouter, RequestRouterContext } from "./request-router.ts";
import { kwargNumber, rejectUnknownKwargs } from "./router-kwargs.ts";
import { TierIndex } from "./tier-index.ts";

const name = "consistent-hash";

/** Below so many requests a replica is never too busy for its own keys: the average means little then. */
const boundFloor = 8;

/**
 * The same key, the same replica: the session id, or else the request id. Mirrors Ray's
 * `ray.serve.experimental.consistent_hash_router.ConsistentHashRouter`; the hash is another one, so that keys lie
 * elsewhere than under Ray.
 *
 * Keyword arguments:
 * - `num_virtual_nodes` (100): points of each replica on the ring.
 * - `num_fallback_replicas` (2): how many more replicas a key may go to when its owner is full.
 * - `load_factor` (ours, 1.25; 0 turns it off): a replica with more than so many times the average of requests
 *   (and more than 8) comes after the others (consistent hashing with bounded loads).
 */
export class ConsistentHashRouter implements RequestRouter {
  /** Others' requests count, too, or several processes would each think that a hot key's owner has time. */
  readonly usesEngineLoad: boolean;
  readonly #now: () => number;
  readonly #virtualNodes: number;
  readonly #fallbackReplicas: number;
  readonly #loadFactor: number;
  #ring: HashRing | undefined;
  #ringIds: ReadonlySet<string> = new Set();
  readonly #index = new TierIndex();
  /** The last tier that was on the ring as a whole. */
  #checked: readonly ReplicaView[] | undefined;

  constructor(context: RequestRouterContext) {
    const { kwargs } = context;
    rejectUnknownKwargs(name, kwargs, ["num_virtual_nodes", "num_fallback_replicas", "load_factor"]);
    this.#virtualNodes = kwargNumber(name, kwargs, "num_virtual_nodes", {
      default: 100,
      minimum: 1,
      maximum: 10_000,
      integer: true,
      message: "num_virtual_nodes must be a positive int, got {value}",
    });
    this.#fallbackReplicas = kwargNumber(name, kwargs, "num_fallback_replicas", {
      default: 2,
      integer: true,
      message: "num_fallback_replicas must be a non-negative int, got {value}",
    });
    this.#loadFactor = kwargNumber(name, kwargs, "load_factor", { default: 1.25 });
    this.usesEngineLoad = this.#loadFactor > 0;
    this.#now = () => context.now();
  }

  chooseReplicas(
    candidates: readonly ReplicaView[],
    request: PendingRequest,
  ): readonly (readonly ReplicaView[])[] {
    const key =
      request.sessionId === undefined || request.sessionId === "" ? request.requestId : request.sessionId;
    return adapterTiers(candidates, request).map((tier) => this.rankTier(tier, key));
  }

  updateReplicas(replicas: readonly ReplicaView[]): void {
    const ids = new Set(replicas.map((replica) => replica.id));
    if (this.#ring !== undefined && isSame(ids, this.#ringIds)) return;
    this.#checked = undefined;
    this.#ring = new HashRing([...ids], this.#virtualNodes);
    this.#ringIds = ids;
  }

  /** The key's owner among these and its fallbacks, those within bounds first. */
  rankTier(tier: readonly ReplicaView[], key: string): readonly ReplicaView[] {
    const { ids, byId } = this.#index.of(tier);
    if (this.#checked !== tier) {
      if (!ids.every((id) => this.#ringIds.has(id))) this.updateReplicas(tier);
      this.#checked = tier;
    }
    const now = this.#now();
    const bound = this.#bound(tier, now);
    const seen = new Set<ReplicaView>();
    const within: ReplicaView[] = [];
    const beyond: ReplicaView[] = [];
    this.#ring?.walk(key, (id) => {
      const replica = byId.get(id);
      if (replica === undefined || seen.has(replica)) return false;
      seen.add(replica);
      (replicaLoad(replica, now) < bound ? within : beyond).push(replica);
      return within.length > this.#fallbackReplicas || seen.size === byId.size;
    });
    return [...within, ...beyond].slice(0, this.#fallbackReplicas + 1);
  }

  #bound(tier: readonly ReplicaView[], now: number): number {
    if (this.#loadFactor === 0) return Number.POSITIVE_INFINITY;
    const total = tier.reduce((sum, replica) => sum + replicaLoad(replica, now), 1);
    return Math.max(boundFloor, Math.ceil((this.#loadFactor * total) / tier.length));
  }
}

function isSame(left: ReadonlySet<string>, right: ReadonlySet<string>): boolean {
  if (left.size !== right.size) return false;
  for (const item of left) if (!right.has(item)) return false;
  return true;
}
