import { decodeJsonString } from "./json-text.ts";

/** Keys of more bytes are made anew each time. */
const longestKept = 32;
const slotCount = 512;

/**
 * The key that was last seen in each slot, and its bytes. Requests and answers have the same few keys: to see that one
 * is known costs less than to make its text, and keys that are the same object compare at once.
 */
const keptKeys: string[] = Array.from({ length: slotCount }, () => "");
const keptBytes = new Uint8Array(slotCount * longestKept);

/** The key between these offsets, quotes included, its escapes decoded. Only for text that was scanned. */
export function jsonKeyAt(bytes: Uint8Array, start: number, end: number): string {
  const length = end - start - 2;
  if (length > longestKept || length === 0) return decodeJsonString(bytes, start, end);
  const slot = slotOf(bytes, start + 1, length);
  const kept = keptKeys[slot] as string;
  if (kept.length === length && isKept(bytes, start + 1, length, slot)) return kept;
  const key = decodeJsonString(bytes, start, end);
  // As long as its bytes: it has no escapes, and the same bytes are the same key anywhere.
  if (key.length === length) {
    keptKeys[slot] = key;
    keptBytes.set(bytes.subarray(start + 1, end - 1), slot * longestKept);
  }
  return key;
}

function isKept(bytes: Uint8Array, start: number, length: number, slot: number): boolean {
  const kept = keptBytes;
  const first = slot * longestKept;
  for (let index = 0; index < length; index += 1) {
    if (bytes[start + index] !== kept[first + index]) return false;
  }
  return true;
}

/** From a few bytes only. The factors give each of the fields of OpenAI's API a slot of its own. */
function slotOf(bytes: Uint8Array, start: number, length: number): number {
  const first = bytes[start] as number;
  const second = bytes[start + ((length - 1) & 1)] as number;
  const middle = bytes[start + (length >> 1)] as number;
  const last = bytes[start + length - 1] as number;
  return (first * 443 + second * 145 + middle * 187 + last * 301 + length * 251) & (slotCount - 1);
}
