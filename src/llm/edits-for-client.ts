import type { RequestEdits } from "../kv-transfer/kv-connector.ts";
import { internalFields } from "../protocol/internal-fields.ts";
import type { JsonObjectIndex } from "../protocol/json-object-index.ts";
import { correctedUsage, type PromptDetails } from "./prompt-usage.ts";

const withoutInternalFields: RequestEdits = { remove: internalFields };

/**
 * What makes an engine's answer, or one event of it, fit for a client: internal fields go (vLLM never puts them into
 * events, some of its relatives do), and `usage` says of the prompt what the engine says that computed it.
 *
 * @param promptDetails what prefill said of the prompt; left out when the answering engine computed it
 * @param streamed whether this is an event: vLLM then leaves out what there is not, instead of saying null
 * @returns undefined when it is fit as it is
 */
export function editsForClient(
  answer: JsonObjectIndex,
  promptDetails: (() => PromptDetails) | undefined,
  streamed: boolean,
): RequestEdits | undefined {
  const usage = promptDetails === undefined ? undefined : correctedUsage(answer, promptDetails(), streamed);
  if (usage !== undefined) return { remove: internalFields, set: { usage } };
  return hasInternalField(answer) ? withoutInternalFields : undefined;
}

function hasInternalField(answer: JsonObjectIndex): boolean {
  for (const field of internalFields) if (answer.has(field)) return true;
  return false;
}
