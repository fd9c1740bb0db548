import { scanJsonObject } from "../protocol/json-object-index.ts";
import { splicedJson } from "../protocol/json-splice.ts";
import { editsForClient, internalFieldMarkers } from "./edits-for-client.ts";
import type { PromptDetails } from "./prompt-usage.ts";

const internalMarkers = internalFieldMarkers.map((marker) => Buffer.from(marker));
/** Without its first quote: a search for a character that is everywhere takes longer. */
const usageMarker = Buffer.from('usage"');

/**
 * Makes the events of a stream fit for a client; see {@link editsForClient}.
 *
 * @param events complete events; returned as they are when there is nothing to do
 * @param promptDetails what prefill said of the prompt; left out when the answering engine computed it
 */
export function scrubEvents(events: Uint8Array, promptDetails?: () => PromptDetails): Uint8Array {
  const bytes = Buffer.from(events.buffer, events.byteOffset, events.byteLength);
  const mayHaveFields = internalMarkers.some((marker) => bytes.includes(marker));
  if (!mayHaveFields && (promptDetails === undefined || !bytes.includes(usageMarker))) return events;
  // latin1 keeps every byte as one character, so nothing but the fields themselves can change.
  const lines = bytes.toString("latin1").split(/(?<=\n)/);
  return Buffer.from(lines.map((line) => scrubLine(line, promptDetails)).join(""), "latin1");
}

function scrubLine(line: string, promptDetails: (() => PromptDetails) | undefined): string {
  const match = /^(data: *)(\{.*\})(\r?\n?)$/s.exec(line);
  const mayNeedIt = internalFieldMarkers.some((marker) => line.includes(marker)) || line.includes('"usage"');
  if (match === null || !mayNeedIt) return line;
  const [, prefix = "", json = "", end = ""] = match;
  try {
    const index = scanJsonObject(Buffer.from(json, "latin1"));
    const edits = editsForClient(index, promptDetails, true);
    if (edits === undefined) return line;
    return prefix + Buffer.from(splicedJson(index, edits)).toString("latin1") + end;
  } catch {
    // Not a JSON object: there is no field in it.
    return line;
  }
}
