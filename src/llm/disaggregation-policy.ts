import { ConfigurationError } from "../errors/configuration-error.ts";
import { number, objectOf, optional, reading, withDefault } from "../config/lax-schema.ts";
import { nested, parseConfig } from "../config/parse-config.ts";
import type { DisaggregationContext } from "./disaggregation-context.ts";
import {
  decodeOnlyReasons,
  disaggregate,
  type DisaggregationDecision,
  type DecodeOnlyReason,
} from "./disaggregation-decision.ts";

/** Decides about one request that can be disaggregated. Called once, when its decode replica is known. */
export type DecideFunction = (context: DisaggregationContext) => DisaggregationDecision;

/** The built-in rule: what is disaggregated only pays when it is long, and when prefill has time for it. */
export interface ConditionalDisaggregation {
  /**
   * Estimated tokens of the prompt, beyond what the decode replica has in its cache, from which on prefill does the
   * work. Shorter ones are decoded alone: `short_prompt`, or `cached_prompt` when the cache makes the difference.
   * 0 or more. @default 0: the length does not matter
   */
  readonly minUncachedTokens?: number | undefined;
  /**
   * Requests for each prefill replica, running and waiting, here and in the engines as last scraped, beyond which
   * decode computes prompts itself: `prefill_busy`. 0 or more. @default null: the queue does not matter
   */
  readonly maxPrefillQueue?: number | null | undefined;
  /** Characters of a prompt that make a token, for the estimate; more than 0. @default 4 */
  readonly charsPerToken?: number | undefined;
}

/** {@link ConditionalDisaggregation} with every default filled in. */
export interface ResolvedConditionalDisaggregation {
  readonly minUncachedTokens: number;
  readonly maxPrefillQueue: number | null;
  readonly charsPerToken: number;
}

/** Characters that make a token in English, about. */
export const defaultCharsPerToken = 4;

const ruleSchema = objectOf("ConditionalDisaggregation", {
  minUncachedTokens: withDefault(number({ atLeast: 0 }), 0),
  maxPrefillQueue: optional(number({ atLeast: 0 })),
  charsPerToken: withDefault(number({ greaterThan: 0 }), defaultCharsPerToken),
});

/** Reads the option `decide`: a rule's numbers, in either spelling, or a function. */
export const decideSchema = reading<ResolvedConditionalDisaggregation | DecideFunction>((input) => {
  if (typeof input === "function") return { value: input as DecideFunction };
  return nested(() => {
    const rule = parseConfig(ruleSchema, input, "decide");
    if (rule.minUncachedTokens === 0 && rule.maxPrefillQueue === undefined) throw nothingToDecide();
    return { ...rule, maxPrefillQueue: rule.maxPrefillQueue ?? null };
  });
});

/** What the rule says of one request. */
export function decideByRule(
  rule: ResolvedConditionalDisaggregation,
  context: DisaggregationContext,
): DisaggregationDecision {
  const { maxPrefillQueue, minUncachedTokens } = rule;
  // First what costs nothing to know.
  if (maxPrefillQueue !== null && context.prefill.queuePerReplica > maxPrefillQueue) {
    return { mode: "decode-only", reason: "prefill_busy" };
  }
  if (minUncachedTokens === 0) return disaggregate;
  const { promptTokens } = context;
  if (promptTokens === undefined) return disaggregate;
  if (promptTokens < minUncachedTokens) return { mode: "decode-only", reason: "short_prompt" };
  const { uncachedTokens = promptTokens } = context;
  return uncachedTokens < minUncachedTokens ? { mode: "decode-only", reason: "cached_prompt" } : disaggregate;
}

/** A user's own decision with a reason that metrics know: anything else is `custom`. */
export function withKnownReason(decision: DisaggregationDecision): DisaggregationDecision {
  if (decision.mode === "pd" || decodeOnlyReasons.has(decision.reason)) return decision;
  const reason: DecodeOnlyReason = "custom";
  return { mode: "decode-only", reason };
}

function nothingToDecide(): ConfigurationError {
  return new ConfigurationError("decide", [
    {
      path: [],
      message: "A rule without minUncachedTokens and maxPrefillQueue decides nothing",
      type: "value_error",
      expected: "at least one of them, a function, or null to disaggregate every prompt",
    },
  ]);
}
