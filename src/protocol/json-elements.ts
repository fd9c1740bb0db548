import { type JsonKind, jsonKindOf } from "./json-object-index.ts";

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** A value within a larger JSON text, not parsed. */
export interface JsonElement {
  readonly kind: JsonKind;
  /** Its text (a view, not a copy). */
  readonly bytes: Uint8Array;
}

/**
 * Walks over the elements of an array without parsing them: several times faster than a scan, because the text is
 * trusted. Only for valid JSON, which scanJsonObject has seen.
 *
 * @param bytes text of the array, from `[` to `]`; anything else has no elements
 * @param visit called for each element; `false` ends the walk
 */
export function walkJsonElements(
  bytes: Uint8Array,
  visit: (element: JsonElement, index: number) => boolean | void,
): void {
  if (bytes[0] !== openBracket) return;
  let position = skipBlanks(bytes, 1);
  for (let index = 0; position < bytes.length && bytes[position] !== closeBracket; index += 1) {
    const end = skipValue(bytes, position);
    // No value is here: the text is no JSON.
    if (end === position) return;
    if (visit(elementAt(bytes, position, end), index) === false) return;
    position = skipBlanks(bytes, end);
    if (bytes[position] === comma) position = skipBlanks(bytes, position + 1);
  }
}

/**
 * The same for the members of an object, duplicates included.
 *
 * @param visit called for each member, with its key as parsed
 */
export function walkJsonMembers(bytes: Uint8Array, visit: (key: string, value: JsonElement) => void): void {
  if (bytes[0] !== openBrace) return;
  let position = skipBlanks(bytes, 1);
  while (position < bytes.length && bytes[position] !== closeBrace) {
    const keyEnd = skipString(bytes, position);
    const key = parseKey(bytes, position, keyEnd);
    position = skipBlanks(bytes, keyEnd);
    if (bytes[position] === colon) position = skipBlanks(bytes, position + 1);
    const end = skipValue(bytes, position);
    if (end === position) return;
    visit(key, elementAt(bytes, position, end));
    position = skipBlanks(bytes, end);
    if (bytes[position] === comma) position = skipBlanks(bytes, position + 1);
  }
}

function elementAt(bytes: Uint8Array, start: number, end: number): JsonElement {
  return { kind: jsonKindOf(bytes[start] ?? 0), bytes: bytes.subarray(start, end) };
}

function skipBlanks(bytes: Uint8Array, from: number): number {
  let position = from;
  while (position < bytes.length && bytes[position]! <= 0x20) position += 1;
  return position;
}

function skipValue(bytes: Uint8Array, start: number): number {
  const first = bytes[start];
  if (first === quote) return skipString(bytes, start);
  let position = start;
  let depth = 0;
  while (position < bytes.length) {
    const byte = bytes[position];
    if (byte === quote) {
      position = skipString(bytes, position);
      continue;
    }
    if (byte === openBrace || byte === openBracket) depth += 1;
    else if (byte === closeBrace || byte === closeBracket) {
      // The end of what a number or a word is in.
      if (depth === 0) return position;
      depth -= 1;
      if (depth === 0) return position + 1;
    } else if (depth === 0 && (byte === comma || byte! <= 0x20)) {
      return position;
    }
    position += 1;
  }
  return position;
}

/** The position after a string: its first quote that is not escaped. */
function skipString(bytes: Uint8Array, start: number): number {
  let position = start;
  for (;;) {
    position = bytes.indexOf(quote, position + 1);
    if (position < 0) return bytes.length;
    let escapes = 0;
    while (bytes[position - 1 - escapes] === backslash) escapes += 1;
    if (escapes % 2 === 0) return position + 1;
  }
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

function parseKey(bytes: Uint8Array, start: number, end: number): string {
  let key = "";
  for (let position = start + 1; position < end - 1; position += 1) {
    const byte = bytes[position]!;
    if (byte === backslash || byte >= 0x80)
      return JSON.parse(decoder.decode(bytes.subarray(start, end))) as string;
    key += String.fromCharCode(byte);
  }
  return key;
}
