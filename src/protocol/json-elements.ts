import { type JsonKind, jsonKindOf } from "./json-object-index.ts";
import { JsonScanner } from "./json-scanner.ts";

const openBracket = 0x5b;
const comma = 0x2c;

/** One element of a JSON array, not parsed. */
export interface JsonElement {
  readonly kind: JsonKind;
  /** Its text (a view, not a copy). */
  readonly bytes: Uint8Array;
}

/**
 * Walks over the elements of an array without parsing them. The text must have been scanned before: it is expected
 * to be valid.
 *
 * @param bytes text of the array, from `[` to `]`
 * @param visit called for each element; `false` ends the walk
 */
export function walkJsonElements(
  bytes: Uint8Array,
  visit: (element: JsonElement, index: number) => boolean | void,
): void {
  if (bytes[0] !== openBracket) return;
  const scanner = new JsonScanner(bytes, Number.MAX_SAFE_INTEGER);
  let position = scanner.skipWhitespace(1);
  for (let index = 0; bytes[position] !== undefined && bytes[position] !== 0x5d; index += 1) {
    const end = scanner.skipValue(position, 1);
    const element = { kind: jsonKindOf(bytes[position]!), bytes: bytes.subarray(position, end) };
    if (visit(element, index) === false) return;
    position = scanner.skipWhitespace(end);
    if (bytes[position] === comma) position = scanner.skipWhitespace(position + 1);
  }
}
