import { ConfigurationError } from "../errors/configuration-error.ts";
import { adapterTiers } from "./adapter-tiers.ts";
import { PowerOfTwoRouter } from "./power-of-two-router.ts";
import { PrefixTree } from "./prefix-tree.ts";
import { byLoad, defaultLoadMaxAgeMs, hasFreeSlot, replicaLoad } from "./replica-load.ts";
import type { PendingRequest, ReplicaView, RequestRouter, RequestRouterContext } from "./request-router.ts";
import { kwargBoolean, kwargNumber, rejectUnknownKwargs } from "./router-kwargs.ts";
import { codePointCount } from "./text-prefix.ts";
import { TierIndex } from "./tier-index.ts";

const name = "prefix-cache-affinity";

/**
 * Sends requests that begin alike to the same replica, whose cache has that beginning. Mirrors Ray's
 * `ray.serve.llm.request_router.PrefixCacheAffinityRouter`.
 *
 * Keyword arguments, Ray's names:
 * - `imbalanced_threshold` (default 10; Ray 2.58: infinity, its docs: 10): with a wider gap between the most and
 *   the least loaded candidate, in requests, load decides alone.
 * - `match_rate_threshold` (0.1): with a smaller part of the prompt known, the replica with the fewest characters
 *   in the tree gets it.
 * - `do_eviction` (default true; Ray: false, and the tree grows for ever), `eviction_threshold_chars` (400 000 a
 *   replica), `eviction_target_chars` (360 000), `eviction_interval_secs` (10): how the tree is kept small. Within
 *   the interval it may reach twice the threshold.
 * - `tree_actor`: only null; the tree lives in this process.
 */
export class PrefixCacheAffinityRouter implements RequestRouter {
  readonly usesEngineLoad = true;
  readonly #tree = new PrefixTree();
  readonly #index = new TierIndex();
  readonly #fallback: PowerOfTwoRouter;
  readonly #now: () => number;
  readonly #imbalancedThreshold: number;
  readonly #matchRateThreshold: number;
  readonly #eviction:
    | { readonly threshold: number; readonly target: number; readonly intervalMs: number }
    | undefined;
  #lastEvictionMs: number;

  constructor(context: RequestRouterContext) {
    const { kwargs } = context;
    rejectUnknownKwargs(name, kwargs, [
      "imbalanced_threshold",
      "match_rate_threshold",
      "do_eviction",
      "eviction_threshold_chars",
      "eviction_target_chars",
      "eviction_interval_secs",
      "tree_actor",
    ]);
    this.#now = () => context.now();
    this.#fallback = new PowerOfTwoRouter({ random: () => context.random(), now: this.#now, kwargs: {} });
    this.#imbalancedThreshold = kwargNumber(name, kwargs, "imbalanced_threshold", { default: 10 });
    this.#matchRateThreshold = kwargNumber(name, kwargs, "match_rate_threshold", {
      default: 0.1,
      maximum: 1,
    });
    const threshold = kwargNumber(name, kwargs, "eviction_threshold_chars", { default: 400_000 });
    const target = kwargNumber(name, kwargs, "eviction_target_chars", {
      default: Math.min(360_000, threshold),
    });
    const intervalMs = 1000 * kwargNumber(name, kwargs, "eviction_interval_secs", { default: 10 });
    refuse(kwargs, target > threshold, "eviction_target_chars", "is above eviction_threshold_chars");
    refuse(
      kwargs,
      (kwargs["tree_actor"] ?? null) !== null,
      "tree_actor",
      "is a Ray actor; here it can only be null",
    );
    this.#eviction = kwargBoolean(name, kwargs, "do_eviction", true)
      ? { threshold, target, intervalMs }
      : undefined;
    this.#lastEvictionMs = this.#now();
  }

  chooseReplicas(
    candidates: readonly ReplicaView[],
    request: PendingRequest,
  ): readonly (readonly ReplicaView[])[] {
    const text = request.promptText?.();
    if (text === undefined || text === "") return this.#fallback.chooseReplicas(candidates, request);
    return adapterTiers(candidates, request).flatMap((tier) => this.#rank(tier, text));
  }

  updateReplicas(replicas: readonly ReplicaView[]): void {
    const ids = new Set(replicas.map((replica) => replica.id));
    this.#tree.removeTenants(this.#tree.tenants.filter((id) => !ids.has(id)));
    this.#tree.addTenants(ids, this.#now());
  }

  onRequestRouted(request: PendingRequest, replicaId: string): void {
    const text = request.promptText?.();
    if (text === undefined || text === "") return;
    const now = this.#now();
    this.#tree.insert(text, replicaId, now);
    this.#evict(replicaId, now);
  }

  /** The preferred group by load; when it is full, two of the others: a full favourite is no reason to wait. */
  #rank(tier: readonly ReplicaView[], text: string): readonly (readonly ReplicaView[])[] {
    if (tier.length === 0) return [];
    const now = this.#now();
    const group = this.#preferred(tier, text, now);
    if (group.length === 0) return this.#fallback.rankTier(tier);
    const sorted = byLoad(group, now);
    if (sorted.some(hasFreeSlot)) return [sorted];
    const preferred = new Set(group);
    return [sorted, ...this.#fallback.rankTier(tier.filter((replica) => !preferred.has(replica)))];
  }

  #preferred(tier: readonly ReplicaView[], text: string, now: number): readonly ReplicaView[] {
    if (loadGap(tier, now) > this.#imbalancedThreshold) return [];
    const { ids, byId } = this.#index.of(tier);
    const { matchedLength, tenants } = this.#tree.match(text, ids);
    const rate = matchedLength === 0 ? 0 : matchedLength / codePointCount(text);
    // Ray takes the smallest of all replicas here, candidates or not.
    const chosen = rate < this.#matchRateThreshold ? this.#tree.smallestTenants(ids) : (tenants ?? []);
    return chosen.map((id) => byId.get(id) as ReplicaView);
  }

  #evict(replicaId: string, now: number): void {
    const eviction = this.#eviction;
    const count = this.#tree.charCount(replicaId);
    if (eviction === undefined || count === undefined || count <= eviction.threshold) return;
    const isDue = now - this.#lastEvictionMs >= eviction.intervalMs;
    if (!isDue) {
      if (count > 2 * eviction.threshold) this.#tree.evict(replicaId, count - eviction.target);
      return;
    }
    this.#lastEvictionMs = now;
    for (const id of this.#tree.tenants) {
      const size = this.#tree.charCount(id) ?? 0;
      if (size > eviction.threshold) this.#tree.evict(id, size - eviction.target);
    }
  }
}

function loadGap(replicas: readonly ReplicaView[], now: number): number {
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  for (const replica of replicas) {
    const load = replicaLoad(replica, now, defaultLoadMaxAgeMs);
    if (load < least) least = load;
    if (load > most) most = load;
  }
  return most - least;
}

function refuse(
  kwargs: Readonly<Record<string, unknown>>,
  isWrong: boolean,
  argument: string,
  problem: string,
): void {
  if (!isWrong) return;
  throw new ConfigurationError(`Router "${name}"`, [
    {
      path: ["request_router_kwargs", argument],
      message: `${argument} ${problem}`,
      type: "value_error",
      received: JSON.stringify(kwargs[argument]),
    },
  ]);
}
