import { RequestError } from "../errors/request-error.ts";
import type { JsonElement } from "../protocol/json-element.ts";
import type { LLMRequest } from "./llm-request.ts";

/** Why a request is not disaggregated, or why it no longer is. A closed set: it labels metrics. */
export type DecodeOnlyReason =
  /** More than one choice: an answer of prefill carries one handle. */
  | "multiple_choices"
  | "beam_search"
  /** Several prompts in one request. */
  | "multiple_prompts"
  /** The answering engine must compute the whole prompt itself. */
  | "echo"
  | "prompt_logprobs"
  /** One token or none is asked for, so that prefill would do all the work twice. */
  | "max_tokens"
  /** The prompt is shorter than the rule of `decide` wants. */
  | "short_prompt"
  /** So is what the decode replica has not in its cache. */
  | "cached_prompt"
  /** More requests are with prefill than the rule of `decide` allows. */
  | "prefill_busy"
  /** The prefill deployment has no replica that will do. */
  | "no_prefill"
  /** Every prefill that was tried failed. */
  | "prefill_failed"
  /** The first token ended the answer, upon which the engine freed the KV. */
  | "first_token_stop"
  /** Prefill's answer had no usable `kv_transfer_params`. */
  | "missing_kv"
  /** A `decide` of the user's own said so. */
  | "custom";

/** The reasons, to tell one from what somebody made up. */
export const decodeOnlyReasons: ReadonlySet<string> = new Set<DecodeOnlyReason>([
  "multiple_choices",
  "beam_search",
  "multiple_prompts",
  "echo",
  "prompt_logprobs",
  "max_tokens",
  "short_prompt",
  "cached_prompt",
  "prefill_busy",
  "no_prefill",
  "prefill_failed",
  "first_token_stop",
  "missing_kv",
  "custom",
]);

/** How a request is served, and why. */
export type DisaggregationDecision =
  | { readonly mode: "pd" }
  | { readonly mode: "decode-only"; readonly reason: DecodeOnlyReason };

export const disaggregate: DisaggregationDecision = { mode: "pd" };

/** What every request must satisfy to be disaggregated, whatever the configuration says. */
export function decideBySemantics(request: LLMRequest): DisaggregationDecision {
  const reason = reasonAgainst(request);
  return reason === undefined ? disaggregate : { mode: "decode-only", reason };
}

const canBeDisaggregatedAnyway: ReadonlySet<DecodeOnlyReason> = new Set([
  "max_tokens",
  "short_prompt",
  "cached_prompt",
  "prefill_busy",
  "custom",
]);

/**
 * The decision for a connector whose decode engines can't answer alone: disaggregated if at all possible.
 *
 * @throws RequestError 400 when what is asked for can't be disaggregated
 */
export function decideForBoundDecode(
  decision: DisaggregationDecision,
  connector: string,
): DisaggregationDecision {
  if (decision.mode === "pd" || canBeDisaggregatedAnyway.has(decision.reason)) return disaggregate;
  throw new RequestError(
    `This model is served through ${connector}, which can't serve such a request (${decision.reason}).`,
    { code: "not_disaggregable" },
  );
}

function reasonAgainst({ body, method }: LLMRequest): DecodeOnlyReason | undefined {
  if (moreThanOne(body.value("n")) || moreThanOne(body.value("best_of"))) return "multiple_choices";
  if (body.value("use_beam_search") === true) return "beam_search";
  if (method === "completions" && promptCount(body.element("prompt")) > 1) {
    return "multiple_prompts";
  }
  if (body.value("echo") === true) return "echo";
  const promptLogprobs = body.value("prompt_logprobs");
  if (promptLogprobs !== undefined && promptLogprobs !== null) return "prompt_logprobs";
  const limit =
    (method === "chat" ? body.value("max_completion_tokens") : undefined) ?? body.value("max_tokens");
  if (typeof limit === "number" && limit <= 1) return "max_tokens";
  return undefined;
}

/** How many prompts a completions request has: one, unless it is a list of texts or of token lists. */
export function promptCount(prompt: JsonElement | undefined): number {
  if (prompt?.kind !== "array") return 1;
  const first = prompt.first();
  if (first?.kind === "number") return 1;
  let count = 0;
  for (let element = first; element !== undefined; element = element.next()) count += 1;
  return count;
}

function moreThanOne(value: unknown): boolean {
  return typeof value === "number" && value > 1;
}
