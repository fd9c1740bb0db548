import { type JsonKind, jsonKindOf } from "./json-kind.ts";
import { jsonKeyAt } from "./json-keys.ts";
import { isJsonString, parseJsonText } from "./json-text.ts";

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** JSON text that was scanned. */
export interface ScannedJson {
  readonly bytes: Uint8Array;
  /** Where long values end, by where they start; they need no second look. */
  readonly spans: ReadonlyMap<number, number>;
}

/** A value within a larger JSON text that was scanned (by `scanJsonObject`), looked into only as far as needed. */
export class JsonElement {
  readonly #text: ScannedJson;
  readonly #start: number;
  readonly #end: number;
  /** Where the key of a member is; -1 for what is no member of an object. */
  readonly #keyStart: number;

  constructor(text: ScannedJson, start: number, end: number, keyStart: number) {
    this.#text = text;
    this.#start = start;
    this.#end = end;
    this.#keyStart = keyStart;
  }

  get kind(): JsonKind {
    return jsonKindOf(this.#text.bytes[this.#start] ?? 0);
  }

  /** Its text (a view, not a copy). */
  get bytes(): Uint8Array {
    return this.#text.bytes.subarray(this.#start, this.#end);
  }

  /** The key of a member, as parsed; of anything else the empty string. */
  get key(): string {
    const { bytes } = this.#text;
    const start = this.#keyStart;
    return start < 0 ? "" : jsonKeyAt(bytes, start, skipString(bytes, start));
  }

  /** Parses it. */
  value(): unknown {
    return parseJsonText(this.#text.bytes, this.#start, this.#end);
  }

  /** The first element of an array, or member of an object; undefined when there is none, or it is neither. */
  first(): JsonElement | undefined {
    const { bytes } = this.#text;
    const opener = bytes[this.#start];
    if (opener !== openBracket && opener !== openBrace) return undefined;
    return this.#neighbour(skipBlanks(bytes, this.#start + 1), opener === openBrace);
  }

  /** What follows it in its array or object, if anything does. */
  next(): JsonElement | undefined {
    const { bytes } = this.#text;
    const position = skipBlanks(bytes, this.#end);
    if (bytes[position] !== comma) return undefined;
    return this.#neighbour(skipBlanks(bytes, position + 1), this.#keyStart >= 0);
  }

  /**
   * A member of an object; undefined when there is none of that name, or when this is no object. The last duplicate
   * wins, as in Python.
   */
  member(key: string): JsonElement | undefined {
    const text = this.#text;
    const { bytes } = text;
    if (bytes[this.#start] !== openBrace) return undefined;
    let found: JsonElement | undefined;
    let position = skipBlanks(bytes, this.#start + 1);
    while (position < this.#end && bytes[position] !== closeBrace) {
      const keyEnd = skipString(bytes, position);
      const valueStart = skipColon(bytes, keyEnd);
      const valueEnd = skipValue(text, valueStart);
      if (isJsonString(bytes, position, keyEnd, key))
        found = new JsonElement(text, valueStart, valueEnd, position);
      position = skipComma(bytes, valueEnd);
    }
    return found;
  }

  /**
   * Walks over the elements of an array; anything else has none.
   *
   * @param visit called for each element; `false` ends the walk
   */
  eachElement(visit: (element: JsonElement, index: number) => boolean | void): void {
    if (this.#text.bytes[this.#start] !== openBracket) return;
    let index = 0;
    for (let element = this.first(); element !== undefined; element = element.next()) {
      if (visit(element, index) === false) return;
      index += 1;
    }
  }

  /**
   * Walks over the members of an object, duplicates included; anything else has none.
   *
   * @param visit called for each member, with its key as parsed
   */
  eachMember(visit: (key: string, value: JsonElement) => void): void {
    if (this.#text.bytes[this.#start] !== openBrace) return;
    for (let member = this.first(); member !== undefined; member = member.next()) visit(member.key, member);
  }

  /** The element or member at this position, if it is one. */
  #neighbour(position: number, isMember: boolean): JsonElement | undefined {
    const text = this.#text;
    const { bytes } = text;
    const byte = bytes[position];
    if (byte === closeBracket || byte === closeBrace) return undefined;
    if (!isMember) return new JsonElement(text, position, skipValue(text, position), -1);
    const start = skipColon(bytes, skipString(bytes, position));
    return new JsonElement(text, start, skipValue(text, start), position);
  }
}

function skipBlanks(bytes: Uint8Array, from: number): number {
  let position = from;
  while (position < bytes.length && bytes[position]! <= 0x20) position += 1;
  return position;
}

/** From the end of a key to its value. */
function skipColon(bytes: Uint8Array, keyEnd: number): number {
  const position = skipBlanks(bytes, keyEnd);
  return bytes[position] === colon ? skipBlanks(bytes, position + 1) : position;
}

/** From the end of a value to the next key or value, or to the end of what they are in. */
function skipComma(bytes: Uint8Array, valueEnd: number): number {
  const position = skipBlanks(bytes, valueEnd);
  return bytes[position] === comma ? skipBlanks(bytes, position + 1) : position;
}

function skipValue({ bytes, spans }: ScannedJson, start: number): number {
  const known = spans.get(start);
  if (known !== undefined) return known;
  const first = bytes[start];
  if (first === quote) return skipString(bytes, start);
  let position = start;
  let depth = 0;
  while (position < bytes.length) {
    const byte = bytes[position];
    if (byte === quote) {
      position = spans.get(position) ?? skipString(bytes, position);
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

/** The position after a string: its first quote that is not escaped. Only for short ones; the others are known. */
function skipString(bytes: Uint8Array, start: number): number {
  let position = start + 1;
  while (position < bytes.length) {
    const byte = bytes[position];
    if (byte === quote) return position + 1;
    position += byte === backslash ? 2 : 1;
  }
  return bytes.length;
}
