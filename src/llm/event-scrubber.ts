import { scanJsonObject } from "../protocol/json-object-index.ts";
import { spliceJsonObject } from "../protocol/json-splice.ts";

const marker = Buffer.from("kv_transfer_params");
const internalFields = ["kv_transfer_params", "ec_transfer_params"];

/**
 * Takes `kv_transfer_params` out of the events of a stream. vLLM never puts it there, some of its relatives do.
 *
 * @param events complete events; returned as they are when there is nothing to take out
 */
export function scrubEvents(events: Uint8Array): Uint8Array {
  const bytes = Buffer.from(events.buffer, events.byteOffset, events.byteLength);
  if (!bytes.includes(marker)) return events;
  // latin1 keeps every byte as one character, so nothing but the fields themselves can change.
  const lines = bytes.toString("latin1").split(/(?<=\n)/);
  return Buffer.from(lines.map(scrubLine).join(""), "latin1");
}

function scrubLine(line: string): string {
  const match = /^(data: ?)(\{.*\})(\r?\n?)$/s.exec(line);
  if (match === null || !line.includes("kv_transfer_params")) return line;
  const [, prefix = "", json = "", end = ""] = match;
  try {
    const index = scanJsonObject(Buffer.from(json, "latin1"));
    const parts = spliceJsonObject(index, { remove: internalFields });
    return prefix + Buffer.concat(parts).toString("latin1") + end;
  } catch {
    // Not a JSON object: there is no field in it.
    return line;
  }
}
