import { type JsonObjectIndex, scanJsonObject } from "../protocol/json-object-index.ts";
import { spliceJsonObject } from "../protocol/json-splice.ts";
import type { RequestEdits } from "../kv-transfer/kv-connector.ts";
import { correctedUsage, type PromptDetails } from "./prompt-usage.ts";

const transferMarker = Buffer.from("kv_transfer_params");
const usageMarker = Buffer.from('"usage"');
const internalFields = ["kv_transfer_params", "ec_transfer_params"];

/**
 * Makes the events of a stream fit for a client: takes `kv_transfer_params` out (vLLM never puts it there, some of its
 * relatives do), and puts right what `usage` says of a prompt that another engine computed.
 *
 * @param events complete events; returned as they are when there is nothing to do
 * @param promptDetails what prefill said of the prompt; left out when the answering engine computed it
 */
export function scrubEvents(events: Uint8Array, promptDetails?: () => PromptDetails): Uint8Array {
  const bytes = Buffer.from(events.buffer, events.byteOffset, events.byteLength);
  const hasTransfer = bytes.includes(transferMarker);
  if (!hasTransfer && (promptDetails === undefined || !bytes.includes(usageMarker))) return events;
  // latin1 keeps every byte as one character, so nothing but the fields themselves can change.
  const lines = bytes.toString("latin1").split(/(?<=\n)/);
  return Buffer.from(lines.map((line) => scrubLine(line, promptDetails)).join(""), "latin1");
}

function scrubLine(line: string, promptDetails: (() => PromptDetails) | undefined): string {
  const match = /^(data: ?)(\{.*\})(\r?\n?)$/s.exec(line);
  if (match === null || !(line.includes("kv_transfer_params") || line.includes('"usage"'))) return line;
  const [, prefix = "", json = "", end = ""] = match;
  try {
    const index = scanJsonObject(Buffer.from(json, "latin1"));
    const edits = editsOf(index, promptDetails);
    if (edits === undefined) return line;
    return prefix + Buffer.concat(spliceJsonObject(index, edits)).toString("latin1") + end;
  } catch {
    // Not a JSON object: there is no field in it.
    return line;
  }
}

function editsOf(
  index: JsonObjectIndex,
  promptDetails: (() => PromptDetails) | undefined,
): RequestEdits | undefined {
  const remove = internalFields.filter((field) => index.has(field));
  const usage = promptDetails === undefined ? undefined : correctedUsage(index, promptDetails(), true);
  if (usage !== undefined) return { remove, set: { usage } };
  return remove.length === 0 ? undefined : { remove };
}
