/** True for a JSON object: not null, not an array. */
export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** True when vLLM's `remote_block_ids` names at least one block: a flat list, or one list for each KV-cache group. */
export function hasBlockId(blockIds: unknown): boolean {
  if (!Array.isArray(blockIds)) return false;
  return blockIds.some((entry) =>
    Array.isArray(entry) ? entry.length > 0 : entry !== null && entry !== undefined,
  );
}

/** A JSON value for an error message: short, and `missing` when there is none. */
export function showJson(value: unknown): string {
  if (value === undefined) return "missing";
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
