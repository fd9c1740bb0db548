import { adapterTiers } from "./adapter-tiers.ts";
import { defaultLoadMaxAgeMs, hasFreeSlot, replicaLoad } from "./replica-load.ts";
import type { PendingRequest, ReplicaView, RequestRouter, RequestRouterContext } from "./request-router.ts";
import { kwargNumber, rejectUnknownKwargs } from "./router-kwargs.ts";

/**
 * Two different replicas at random, the less loaded of them first: close to the best choice, without the herd
 * that runs to the one idle replica everybody sees. The default. Mirrors Ray's `PowerOfTwoChoicesRequestRouter`.
 *
 * When neither has a free slot all the others follow, least loaded first: Ray gets there by drawing again after a
 * pause.
 *
 * Keyword arguments: `load_max_age_s` (ours; seconds a scraped engine load counts, default 10).
 */
export class PowerOfTwoRouter implements RequestRouter {
  readonly usesEngineLoad = true;
  readonly #random: () => number;
  readonly #now: () => number;
  readonly #loadMaxAgeMs: number;

  constructor(context: RequestRouterContext) {
    rejectUnknownKwargs("power-of-two", context.kwargs, ["load_max_age_s"]);
    this.#random = () => context.random();
    this.#now = () => context.now();
    this.#loadMaxAgeMs =
      1000 *
      kwargNumber("power-of-two", context.kwargs, "load_max_age_s", { default: defaultLoadMaxAgeMs / 1000 });
  }

  chooseReplicas(
    candidates: readonly ReplicaView[],
    request: PendingRequest,
  ): readonly (readonly ReplicaView[])[] {
    const tiers = adapterTiers(candidates, request);
    const [only] = tiers;
    return tiers.length === 1 && only !== undefined
      ? this.rankTier(only)
      : tiers.flatMap((tier) => this.rankTier(tier));
  }

  scores(candidate: ReplicaView): Readonly<Record<string, number>> {
    return { load: this.#load(candidate, this.#now()) };
  }

  /** Two of these and, if both are full, the others; for routers that fall back to this one. */
  rankTier(tier: readonly ReplicaView[]): readonly (readonly ReplicaView[])[] {
    const count = tier.length;
    if (count < 2) return count === 0 ? [] : [tier];
    const firstIndex = Math.floor(this.#random() * count);
    // Drawn from the others, so that the pair is uniform over ordered pairs of different replicas.
    const draw = Math.floor(this.#random() * (count - 1));
    const secondIndex = draw < firstIndex ? draw : draw + 1;
    const first = tier[firstIndex];
    const second = tier[secondIndex];
    if (first === undefined || second === undefined) return [tier];
    const now = this.#now();
    const pair = this.#load(second, now) < this.#load(first, now) ? [second, first] : [first, second];
    if (hasFreeSlot(first) || hasFreeSlot(second) || count === 2) return [pair];
    return [pair, this.#others(tier, first, second, now)];
  }

  #others(
    tier: readonly ReplicaView[],
    first: ReplicaView,
    second: ReplicaView,
    now: number,
  ): readonly ReplicaView[] {
    return tier
      .filter((replica) => replica !== first && replica !== second && hasFreeSlot(replica))
      .sort((a, b) => this.#load(a, now) - this.#load(b, now));
  }

  #load(replica: ReplicaView, now: number): number {
    return replicaLoad(replica, now, this.#loadMaxAgeMs);
  }
}
