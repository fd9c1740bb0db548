import { publishPDDegraded } from "../observability/channels.ts";
import type { PDHealth } from "../observability/pd-health-report.ts";
import type { DecodeOnlyReason } from "./disaggregation-decision.ts";

/** Reasons that lie in the request, or in the user's own settings: they say nothing about the engines. */
const intended: ReadonlySet<DecodeOnlyReason> = new Set([
  "multiple_choices",
  "beam_search",
  "multiple_prompts",
  "echo",
  "prompt_logprobs",
  "max_tokens",
  "short_prompt",
  "cached_prompt",
  "prefill_busy",
  "first_token_stop",
  "custom",
]);

const windowSize = 100;
const smallestWindow = 20;
const degradedBelow = 0.5;
const recoveredAbove = 0.8;
const maxPairs = 10_000;

/** Two engines, and how often KV went from one to the other. */
interface Pair {
  readonly prefill: string;
  readonly decode: string;
  handoffs: number;
}

/**
 * Measures the share of requests that really went through prefill and decode. Deployments that silently decode
 * everything answer 200 and cost twice the GPUs; here they raise `pd.degraded` and a warning.
 */
export class PDHealthMeter {
  readonly #deployment: string;
  readonly #warn: (message: string) => void;
  readonly #decodeOnly = new Map<DecodeOnlyReason, number>();
  readonly #pairs: Pair[] = [];
  /** The same by prefill, then decode: a key of both would be a new text for every request. */
  readonly #pairsByPrefill = new Map<string, Map<string, Pair>>();
  /** The last outcomes; undefined is a handoff. A ring. */
  readonly #recent: (DecodeOnlyReason | undefined)[] = [];
  #next = 0;
  #handoffsInWindow = 0;
  #requests = 0;
  #disaggregated = 0;
  #degraded = false;

  constructor(deployment: string, warn: (message: string) => void) {
    this.#deployment = deployment;
    this.#warn = warn;
  }

  request(): void {
    this.#requests += 1;
  }

  handedOver(prefill: string, decode: string): void {
    this.#disaggregated += 1;
    const pair = this.#pairsByPrefill.get(prefill)?.get(decode);
    if (pair !== undefined) pair.handoffs += 1;
    else if (this.#pairs.length < maxPairs) this.#addPair({ prefill, decode, handoffs: 1 });
    this.#remember(undefined);
  }

  decodeOnly(reason: DecodeOnlyReason): void {
    this.#decodeOnly.set(reason, (this.#decodeOnly.get(reason) ?? 0) + 1);
    if (!intended.has(reason)) this.#remember(reason);
  }

  health(): PDHealth {
    return {
      deployment: this.#deployment,
      requests: this.#requests,
      disaggregated: this.#disaggregated,
      decodeOnly: Object.fromEntries(this.#decodeOnly),
      handoffShare: this.#share(),
      window: this.#recent.length,
      degraded: this.#degraded,
      pairs: this.#pairs.map((pair) => ({ ...pair })),
    };
  }

  #share(): number {
    return this.#recent.length === 0 ? 1 : this.#handoffsInWindow / this.#recent.length;
  }

  #addPair(pair: Pair): void {
    this.#pairs.push(pair);
    const ofPrefill = this.#pairsByPrefill.get(pair.prefill);
    if (ofPrefill === undefined) this.#pairsByPrefill.set(pair.prefill, new Map([[pair.decode, pair]]));
    else ofPrefill.set(pair.decode, pair);
  }

  #remember(outcome: DecodeOnlyReason | undefined): void {
    if (this.#recent.length === windowSize && this.#recent[this.#next] === undefined)
      this.#handoffsInWindow -= 1;
    this.#recent[this.#next] = outcome;
    this.#next = (this.#next + 1) % windowSize;
    if (outcome === undefined) this.#handoffsInWindow += 1;
    this.#judge();
  }

  #judge(): void {
    if (this.#recent.length < smallestWindow) return;
    const share = this.#share();
    const degraded = this.#degraded ? share < recoveredAbove : share < degradedBelow;
    if (degraded === this.#degraded) return;
    this.#degraded = degraded;
    const reasons: Record<string, number> = {};
    for (const reason of this.#recent) if (reason !== undefined) reasons[reason] = (reasons[reason] ?? 0) + 1;
    const event = {
      deployment: this.#deployment,
      degraded,
      handoffShare: share,
      window: this.#recent.length,
      reasons,
    };
    publishPDDegraded(event);
    if (degraded) {
      const percent = Math.round(share * 100);
      this.#warn(
        `Only ${percent} % of the last ${event.window} requests of "${this.#deployment}" were disaggregated; ` +
          `reasons: ${JSON.stringify(reasons)}`,
      );
    }
  }
}
