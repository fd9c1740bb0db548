import type { JsonElement, JsonMembers } from "../protocol/json-element.ts";
import { scanJsonObject } from "../protocol/json-object-index.ts";
import type { RawJson } from "../protocol/raw-json.ts";

/** True for a JSON object: not null, not an array. */
export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The fields of a handle, not parsed: that of a long prompt names thousands of blocks. Undefined when it is no object.
 */
export function handleFields(handle: RawJson): JsonMembers | undefined {
  const { element } = handle;
  if (element !== undefined) return element.kind === "object" ? element.members() : undefined;
  return isJsonObject(handle.value) ? scanJsonObject(handle.bytes).root.members() : undefined;
}

/** True for a field that is there and not null. */
export function isGiven(field: JsonElement | undefined): field is JsonElement {
  return field !== undefined && field.kind !== "null";
}

/** True when vLLM's `remote_block_ids` names at least one block: a flat list, or one list for each KV-cache group. */
export function hasBlockId(blockIds: JsonElement | undefined): boolean {
  if (blockIds?.kind !== "array") return false;
  for (let entry = blockIds.first(); entry !== undefined; entry = entry.next()) {
    if (entry.kind === "array" ? entry.first() !== undefined : entry.kind !== "null") return true;
  }
  return false;
}

/** A JSON value for an error message: short, and `missing` when there is none. */
export function showJson(value: unknown): string {
  if (value === undefined) return "missing";
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
