import { type JsonObjectIndex, scanJsonObject } from "../protocol/json-object-index.ts";
import { spliceJsonObject } from "../protocol/json-splice.ts";
import { RawJson } from "../protocol/raw-json.ts";

/**
 * What prefill said of its prompt, `usage.prompt_tokens_details`; undefined when it says nothing, as vLLM does without
 * `--enable-prompt-tokens-details` and when nothing was cached.
 */
export type PromptDetails = RawJson | undefined;

/**
 * Takes the details of a prompt from the `usage` of prefill's answer.
 *
 * @param answer prefill's answer
 */
export function promptDetailsOf(answer: JsonObjectIndex): PromptDetails {
  if (answer.kind("usage") !== "object") return undefined;
  const usage = scanJsonObject(answer.raw("usage")!.bytes);
  return usage.kind("prompt_tokens_details") === "object" ? usage.raw("prompt_tokens_details") : undefined;
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
  if (answer.kind("usage") !== "object") return undefined;
  const usage = scanJsonObject(answer.raw("usage")!.bytes);
  const hasOwn = usage.kind("prompt_tokens_details") === "object";
  if (details === undefined) {
    if (!hasOwn) return undefined;
    const edits = streamed ? { remove: ["prompt_tokens_details"] } : { set: { prompt_tokens_details: null } };
    return new RawJson(Buffer.concat(spliceJsonObject(usage, edits)));
  }
  const merged = hasOwn ? withCachedTokens(usage.raw("prompt_tokens_details")!, details) : details;
  return new RawJson(Buffer.concat(spliceJsonObject(usage, { set: { prompt_tokens_details: merged } })));
}

/** {@link correctedUsage} of a parsed `usage`, for traces and metrics. */
export function correctedUsageValue(usage: unknown, details: PromptDetails): unknown {
  if (typeof usage !== "object" || usage === null) return usage;
  return { ...usage, prompt_tokens_details: details === undefined ? null : details.value };
}

/** Decode's own details (sounds, images), with prefill's count of cached tokens. */
function withCachedTokens(own: RawJson, details: RawJson): RawJson {
  const cached = scanJsonObject(details.bytes).raw("cached_tokens");
  const edits = cached === undefined ? { remove: ["cached_tokens"] } : { set: { cached_tokens: cached } };
  return new RawJson(Buffer.concat(spliceJsonObject(scanJsonObject(own.bytes), edits)));
}
