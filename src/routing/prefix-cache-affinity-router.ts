import { ConfigurationError } from "../errors/configuration-error.ts";
import { adapterTiers } from "./adapter-tiers.ts";
import { BoundedPrefixTree, defaultPrefixEviction } from "./bounded-prefix-tree.ts";
import { PowerOfTwoRouter } from "./power-of-two-router.ts";
import { byLoad, defaultLoadMaxAgeMs, hasFreeSlot, replicaLoad } from "./replica-load.ts";
import type { PendingRequest, ReplicaView, RequestRouter, RequestRouterContext } from "./request-router.ts";
import { kwargBoolean, kwargNumber, rejectUnknownKwargs } from "./router-kwargs.ts";
import { codePointCount } from "./text-prefix.ts";
import { TierIndex } from "./tier-index.ts";

const name = "prefix-cache-affinity";

const noMatch = { rate: 0, holders: [] } as const;

/**
 * Sends requests that begin alike to the same replica, whose cache has that beginning. Mirrors Ray's
 * `ray.serve.llm.request_router.PrefixCacheAffinityRouter`.
 *
 * Keyword arguments, Ray's names:
 * - `imbalanced_threshold` (default 10; Ray 2.58: infinity, its docs: 10): when the preferred replicas are
 *   busier than the least busy candidate by more requests than this, load decides alone. Ray compares the busiest and
 *   the least busy of all.
 * - `match_rate_threshold` (0.1): with a smaller part of the prompt known, the replica with the fewest characters
 *   in the tree gets it.
 * - `do_eviction` (default true; Ray: false, and the tree grows for ever), `eviction_threshold_chars` (400 000 a
 *   replica), `eviction_target_chars` (360 000), `eviction_interval_secs` (10): how the tree is kept small. Within
 *   the interval it may reach twice the threshold.
 * - `tree_actor`: only null; the tree lives in this process.
 */
export class PrefixCacheAffinityRouter implements RequestRouter {
  readonly usesEngineLoad = true;
  readonly #tree: BoundedPrefixTree;
  readonly #index = new TierIndex();
  /** Of the last prompt: which part of it was known, and of whom. */
  #lastMatch: { readonly rate: number; readonly holders: readonly string[] } = noMatch;
  readonly #fallback: PowerOfTwoRouter;
  readonly #now: () => number;
  readonly #imbalancedThreshold: number;
  readonly #matchRateThreshold: number;

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
    const threshold = kwargNumber(name, kwargs, "eviction_threshold_chars", {
      default: defaultPrefixEviction.thresholdChars,
    });
    const target = kwargNumber(name, kwargs, "eviction_target_chars", {
      default: Math.min(defaultPrefixEviction.targetChars, threshold),
    });
    const intervalMs =
      1000 *
      kwargNumber(name, kwargs, "eviction_interval_secs", {
        default: defaultPrefixEviction.intervalMs / 1000,
      });
    refuse(kwargs, target > threshold, "eviction_target_chars", "is above eviction_threshold_chars");
    refuse(
      kwargs,
      (kwargs["tree_actor"] ?? null) !== null,
      "tree_actor",
      "is a Ray actor; here it can only be null",
    );
    const evicts = kwargBoolean(name, kwargs, "do_eviction", true);
    this.#tree = new BoundedPrefixTree(
      evicts ? { thresholdChars: threshold, targetChars: target, intervalMs } : undefined,
      this.#now(),
    );
  }

  chooseReplicas(
    candidates: readonly ReplicaView[],
    request: PendingRequest,
  ): readonly (readonly ReplicaView[])[] {
    const text = request.promptText?.();
    this.#lastMatch = noMatch;
    if (text === undefined || text === "") return this.#fallback.chooseReplicas(candidates, request);
    return adapterTiers(candidates, request).flatMap((tier) => this.#rank(tier, text));
  }

  scores(candidate: ReplicaView): Readonly<Record<string, number>> {
    const { rate, holders } = this.#lastMatch;
    return {
      load: replicaLoad(candidate, this.#now(), defaultLoadMaxAgeMs),
      prefix_match: holders.includes(candidate.id) ? rate : 0,
    };
  }

  updateReplicas(replicas: readonly ReplicaView[]): void {
    this.#tree.setReplicas(new Set(replicas.map((replica) => replica.id)), this.#now());
  }

  onCachesLost(replicaIds: ReadonlySet<string>): void {
    this.#tree.forget(replicaIds, this.#now());
  }

  onRequestRouted(request: PendingRequest, replicaId: string): void {
    const text = request.promptText?.();
    if (text === undefined || text === "") return;
    this.#tree.sent(text, replicaId, this.#now());
  }

  /** The preferred group by load; when it is full, two of the others: a full favourite is no reason to wait. */
  #rank(tier: readonly ReplicaView[], text: string): readonly (readonly ReplicaView[])[] {
    if (tier.length === 0) return [];
    const now = this.#now();
    const group = this.#preferred(tier, text);
    if (group.length === 0 || this.#isOverloaded(group, tier, now)) return this.#fallback.rankTier(tier);
    const sorted = byLoad(group, now);
    if (sorted.some(hasFreeSlot)) return [sorted];
    const preferred = new Set(group);
    return [sorted, ...this.#fallback.rankTier(tier.filter((replica) => !preferred.has(replica)))];
  }

  /**
   * True when the preferred group is busier than the least busy candidate by more than the threshold. Ray looks at the
   * gap between the busiest and the least busy of all, and then leaves also those favourites that have time.
   */
  #isOverloaded(group: readonly ReplicaView[], tier: readonly ReplicaView[], now: number): boolean {
    return leastLoad(group, now) - leastLoad(tier, now) > this.#imbalancedThreshold;
  }

  #preferred(tier: readonly ReplicaView[], text: string): readonly ReplicaView[] {
    const { ids, byId } = this.#index.of(tier);
    const { matchedLength, tenants } = this.#tree.match(text, ids);
    const rate = matchedLength === 0 ? 0 : matchedLength / codePointCount(text);
    this.#lastMatch = { rate, holders: rate === 0 ? [] : (tenants ?? []) };
    // Ray takes the smallest of all replicas here, candidates or not.
    const chosen = rate < this.#matchRateThreshold ? this.#tree.smallest(ids) : (tenants ?? []);
    return chosen.map((id) => byId.get(id) as ReplicaView);
  }
}

function leastLoad(replicas: readonly ReplicaView[], now: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (const replica of replicas) {
    const load = replicaLoad(replica, now, defaultLoadMaxAgeMs);
    if (load < least) least = load;
  }
  return least;
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
