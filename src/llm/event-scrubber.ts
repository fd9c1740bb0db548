import { mayHaveInternalField } from "../protocol/internal-fields.ts";
import { scanJsonObject } from "../protocol/json-object-index.ts";
import { splicedJson } from "../protocol/json-splice.ts";
import { editsForClient } from "./edits-for-client.ts";
import type { PromptDetails } from "./prompt-usage.ts";

/** Without its first quote: a search for a character that is everywhere takes longer. */
const usageMarker = 'usage"';

/**
 * Makes the events of a stream fit for a client; see {@link editsForClient}.
 *
 * @param events complete events; returned as they are when there is nothing to do
 * @param promptDetails what prefill said of the prompt; left out when the answering engine computed it
 */
export function scrubEvents(events: Uint8Array, promptDetails?: () => PromptDetails): Uint8Array {
  // latin1 keeps every byte as one character, so nothing but the fields themselves can change.
  const text = Buffer.from(events.buffer, events.byteOffset, events.byteLength).toString("latin1");
  if (!mayNeedEdits(text, promptDetails)) return events;
  const lines = text.split(/(?<=\n)/);
  return Buffer.from(lines.map((line) => scrubLine(line, promptDetails)).join(""), "latin1");
}

function mayNeedEdits(text: string, promptDetails: (() => PromptDetails) | undefined): boolean {
  return mayHaveInternalField(text) || (promptDetails !== undefined && text.indexOf(usageMarker) !== -1);
}

function scrubLine(line: string, promptDetails: (() => PromptDetails) | undefined): string {
  const match = /^(data: *)(\{.*\})(\r?\n?)$/s.exec(line);
  if (match === null || !mayNeedEdits(line, promptDetails)) return line;
  const [, prefix = "", json = "", end = ""] = match;
  try {
    const index = scanJsonObject(Buffer.from(json, "latin1"));
    const edits = editsForClient(index, promptDetails, true);
    if (edits === undefined) return line;
    return prefix + splicedJson(index, edits).toString("latin1") + end;
  } catch {
    // Not a JSON object: there is no field in it.
    return line;
  }
}
