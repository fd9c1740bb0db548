import { adapterTiers } from "./adapter-tiers.ts";
import { byLoad, defaultLoadMaxAgeMs, replicaLoad } from "./replica-load.ts";
import type { PendingRequest, ReplicaView, RequestRouter, RequestRouterContext } from "./request-router.ts";
import { kwargNumber, rejectUnknownKwargs } from "./router-kwargs.ts";
import { rotate } from "./rotate.ts";

const name = "least-loaded";

/**
 * The least loaded replica first, equally loaded ones in random order. Best when this process is the only one that
 * sends to the engines; where there are several, power of two spreads better. Does in one process what Ray's
 * `CapacityQueueRouter` does with a central actor.
 *
 * Keyword arguments: `load_max_age_s` (seconds a scraped engine load counts, default 10).
 */
export class LeastLoadedRouter implements RequestRouter {
  readonly usesEngineLoad = true;
  readonly #random: () => number;
  readonly #now: () => number;
  readonly #loadMaxAgeMs: number;

  constructor(context: RequestRouterContext) {
    rejectUnknownKwargs(name, context.kwargs, ["load_max_age_s"]);
    this.#random = () => context.random();
    this.#now = () => context.now();
    this.#loadMaxAgeMs =
      1000 * kwargNumber(name, context.kwargs, "load_max_age_s", { default: defaultLoadMaxAgeMs / 1000 });
  }

  chooseReplicas(
    candidates: readonly ReplicaView[],
    request: PendingRequest,
  ): readonly (readonly ReplicaView[])[] {
    const now = this.#now();
    return adapterTiers(candidates, request).map((tier) =>
      byLoad(rotate(tier, Math.floor(this.#random() * tier.length)), now, this.#loadMaxAgeMs),
    );
  }

  scores(candidate: ReplicaView): Readonly<Record<string, number>> {
    return { load: replicaLoad(candidate, this.#now(), this.#loadMaxAgeMs) };
  }
}
