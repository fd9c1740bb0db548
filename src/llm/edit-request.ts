import { scanJsonObject } from "../protocol/json-object-index.ts";
import { splicedJson } from "../protocol/json-splice.ts";
import { expectedChoicesOf, type LLMRequest } from "./llm-request.ts";

/** Fields of a body to set and to remove. */
export interface RequestFieldEdits {
  /** Values that JSON has, or RawJson for what JavaScript's numbers can't hold. */
  readonly set?: Readonly<Record<string, unknown>> | undefined;
  readonly remove?: readonly string[] | undefined;
}

/** What routing and answering were decided by already. */
const decided: ReadonlySet<string> = new Set(["model", "stream"]);

/**
 * The same request with other fields in its body; the rest of the client's bytes stay as they came. For a `prepare` of
 * your own.
 *
 * @example editRequest(request, { set: { temperature: 0 }, remove: ["logit_bias"] })
 * @throws TypeError for `model` and `stream`, which can't be changed any more
 */
export function editRequest(request: LLMRequest, edits: RequestFieldEdits): LLMRequest {
  const { set = {}, remove = [] } = edits;
  for (const name of [...Object.keys(set), ...remove]) {
    if (decided.has(name)) throw new TypeError(`editRequest: "${name}" can't be changed any more`);
  }
  const body = scanJsonObject(splicedJson(request.body, { set, remove }));
  return { ...request, body, expectedChoices: expectedChoicesOf(body, request.method) };
}
