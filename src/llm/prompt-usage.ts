import type { JsonElement } from "../protocol/json-element.ts";
import { type JsonObjectIndex, scanJsonObject } from "../protocol/json-object-index.ts";
import { type JsonEdits, splicedJson } from "../protocol/json-splice.ts";
import { RawJson } from "../protocol/raw-json.ts";

/**
 * What prefill said of its prompt, `usage.prompt_tokens_details`; undefined when it says nothing, as vLLM does without
 * `--enable-prompt-tokens-details` and when nothing was cached.
 */
export type PromptDetails = RawJson | undefined;

const withoutDetails: JsonEdits = { remove: ["prompt_tokens_details"] };
const withNullDetails: JsonEdits = { set: { prompt_tokens_details: null } };

/**
 * Takes the details of a prompt from the `usage` of prefill's answer.
 *
 * @param answer prefill's answer
 */
export function promptDetailsOf(answer: JsonObjectIndex): PromptDetails {
  const details = answer.element("usage")?.member("prompt_tokens_details");
  return details?.kind === "object" ? new RawJson(details.bytes) : undefined;
}

/**
 * The `usage` for the client of an answer whose prompt another engine computed. To decode all of that prompt comes from
 * somewhere else and so counts as cached; what was cached in truth only prefill knows. All other counts are decode's.
 *
 * @param answer decode's answer, or one event of it
 * @param streamed where vLLM leaves out what there is not, instead of saying null
 * @returns undefined when it is right as it is
 */
export function correctedUsage(
  answer: JsonObjectIndex,
  details: PromptDetails,
  streamed: boolean,
): RawJson | undefined {
  const usage = answer.element("usage");
  if (usage?.kind !== "object") return undefined;
  const own = promptDetailsOf(answer);
  if (details === undefined) {
    if (own === undefined) return undefined;
    return edited(usage, streamed ? withoutDetails : withNullDetails);
  }
  const merged = own === undefined ? details : withCachedTokens(own, details);
  return edited(usage, { set: { prompt_tokens_details: merged } });
}

/** Of an engine's `usage` what traces and metrics count; undefined when it is no object. */
export function usageCounts(usage: JsonElement | undefined): unknown {
  if (usage?.kind !== "object") return undefined;
  let prompt_tokens: unknown;
  let completion_tokens: unknown;
  let prompt_tokens_details: unknown;
  for (let member = usage.first(); member !== undefined; member = member.next()) {
    const { key } = member;
    if (key === "prompt_tokens") prompt_tokens = member.value();
    else if (key === "completion_tokens") completion_tokens = member.value();
    else if (key === "prompt_tokens_details") prompt_tokens_details = member.value();
  }
  return { prompt_tokens, completion_tokens, prompt_tokens_details };
}

/** {@link usageCounts} as {@link correctedUsage} would have them. */
export function correctedCounts(usage: unknown, details: PromptDetails): unknown {
  if (typeof usage !== "object" || usage === null) return usage;
  const { prompt_tokens, completion_tokens } = usage as Readonly<Record<string, unknown>>;
  return { prompt_tokens, completion_tokens, prompt_tokens_details: details?.value };
}

/** Decode's own details (sounds, images), with prefill's count of cached tokens. */
function withCachedTokens(own: RawJson, details: RawJson): RawJson {
  const cached = scanJsonObject(details.bytes).raw("cached_tokens");
  return edited(
    own,
    cached === undefined ? { remove: ["cached_tokens"] } : { set: { cached_tokens: cached } },
  );
}

function edited(object: { readonly bytes: Uint8Array }, edits: JsonEdits): RawJson {
  return new RawJson(splicedJson(scanJsonObject(object.bytes), edits));
}
