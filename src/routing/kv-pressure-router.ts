import { adapterTiers } from "./adapter-tiers.ts";
import { PowerOfTwoRouter } from "./power-of-two-router.ts";
import { defaultLoadMaxAgeMs, replicaLoad } from "./replica-load.ts";
import type { PendingRequest, ReplicaView, RequestRouter, RequestRouterContext } from "./request-router.ts";
import { kwargNumber, rejectUnknownKwargs } from "./router-kwargs.ts";

const name = "kv-pressure";

/**
 * Keeps away from engines whose KV cache is nearly full or whose own queue has begun: vLLM would preempt there and
 * compute prompts twice. Among the others power of two decides; the pressed ones follow, emptiest cache first. An
 * engine without a fresh report counts as not pressed. Ours; Ray has no counterpart.
 *
 * Keyword arguments: `kv_usage_limit` (0.9; a part of the cache, 0 to 1), `waiting_limit` (0; requests waiting in
 * the engine), `load_max_age_s` (10).
 */
export class KvPressureRouter implements RequestRouter {
  readonly usesEngineLoad = true;
  readonly #byLoad: PowerOfTwoRouter;
  readonly #now: () => number;
  readonly #kvUsageLimit: number;
  readonly #waitingLimit: number;
  readonly #loadMaxAgeMs: number;

  constructor(context: RequestRouterContext) {
    const { kwargs } = context;
    rejectUnknownKwargs(name, kwargs, ["kv_usage_limit", "waiting_limit", "load_max_age_s"]);
    this.#now = () => context.now();
    this.#kvUsageLimit = kwargNumber(name, kwargs, "kv_usage_limit", { default: 0.9, maximum: 1 });
    this.#waitingLimit = kwargNumber(name, kwargs, "waiting_limit", { default: 0 });
    const maxAgeS = kwargNumber(name, kwargs, "load_max_age_s", { default: defaultLoadMaxAgeMs / 1000 });
    this.#loadMaxAgeMs = 1000 * maxAgeS;
    this.#byLoad = new PowerOfTwoRouter({
      random: () => context.random(),
      now: this.#now,
      kwargs: { load_max_age_s: maxAgeS },
    });
  }

  chooseReplicas(
    candidates: readonly ReplicaView[],
    request: PendingRequest,
  ): readonly (readonly ReplicaView[])[] {
    return adapterTiers(candidates, request).flatMap((tier) => this.#rankTier(tier));
  }

  scores(candidate: ReplicaView): Readonly<Record<string, number>> {
    return { ...this.#byLoad.scores(candidate), pressed: this.#isPressed(candidate, this.#now()) ? 1 : 0 };
  }

  #rankTier(tier: readonly ReplicaView[]): readonly (readonly ReplicaView[])[] {
    const now = this.#now();
    const pressed = tier.filter((replica) => this.#isPressed(replica, now));
    if (pressed.length === 0) return this.#byLoad.rankTier(tier);
    const calm = tier.filter((replica) => !pressed.includes(replica));
    const byUsage = pressed.sort((a, b) => usage(a) - usage(b) || a.inFlight - b.inFlight);
    return [...this.#byLoad.rankTier(calm), byUsage];
  }

  /**
   * Judges by the report, brought up to date by our own requests since: an engine that everybody left because it was
   * full a moment ago must not stay empty until its next report.
   */
  #isPressed(replica: ReplicaView, now: number): boolean {
    const reported = replica.engineLoad;
    if (reported === undefined || now - reported.atMs > this.#loadMaxAgeMs) return false;
    const before = reported.running + reported.waiting;
    const since = replicaLoad(replica, now, this.#loadMaxAgeMs) - before;
    const left = since < 0 && before > 0 ? Math.max(0, before + since) / before : 1;
    return (
      reported.kvCacheUsage * left >= this.#kvUsageLimit ||
      reported.waiting + Math.min(0, since) > this.#waitingLimit
    );
  }
}

function usage(replica: ReplicaView): number {
  return replica.engineLoad?.kvCacheUsage ?? 0;
}
