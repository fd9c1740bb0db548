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
  /** -1 until it is known: who walks over all that is within a value comes to its end anyway. */
  #end: number;
  /** Where the key of a member is, quotes included; -1 for what is no member of an object. */
  readonly #keyStart: number;
  /** -1 until it is known. */
  #keyEnd: number;
  /** The array or object that was walked into to come here. */
  readonly #parent: JsonElement | undefined;
  #members: JsonMembers | undefined;

  constructor(
    text: ScannedJson,
    start: number,
    end: number,
    keyStart: number,
    keyEnd = -1,
    parent?: JsonElement,
  ) {
    this.#text = text;
    this.#start = start;
    this.#end = end;
    this.#keyStart = keyStart;
    this.#keyEnd = keyEnd;
    this.#parent = parent;
  }

  get kind(): JsonKind {
    return jsonKindOf(this.#text.bytes[this.#start] ?? 0);
  }

  /** Its text (a view, not a copy). */
  get bytes(): Uint8Array {
    return this.#text.bytes.subarray(this.#start, this.#findEnd());
  }

  /** The key of a member, as parsed; of anything else the empty string. */
  get key(): string {
    const { bytes } = this.#text;
    return this.#keyStart < 0 ? "" : jsonKeyAt(bytes, this.#keyStart, this.#findKeyEnd());
  }

  /** True for a member of this key; costs less than to read the key. */
  hasKey(key: string): boolean {
    return this.#keyStart >= 0 && isJsonString(this.#text.bytes, this.#keyStart, this.#findKeyEnd(), key);
  }

  /** Parses it. */
  value(): unknown {
    return parseJsonText(this.#text.bytes, this.#start, this.#findEnd());
  }

  /** The first element of an array, or member of an object; undefined when there is none, or it is neither. */
  first(): JsonElement | undefined {
    const { bytes } = this.#text;
    const opener = bytes[this.#start];
    if (opener !== openBracket && opener !== openBrace) return undefined;
    const position = skipBlanks(bytes, this.#start + 1);
    const byte = bytes[position];
    if (byte === closeBracket || byte === closeBrace) return undefined;
    return this.#child(position, opener === openBrace);
  }

  /** What follows it in its array or object, if anything does. */
  next(): JsonElement | undefined {
    const { bytes } = this.#text;
    const parent = this.#parent;
    if (parent === undefined) return undefined;
    const position = skipBlanks(bytes, this.#findEnd());
    if (bytes[position] === comma) return parent.#child(skipBlanks(bytes, position + 1), this.#keyStart >= 0);
    parent.#end = position + 1;
    return undefined;
  }

  /**
   * A member of an object; undefined when there is none of that name, or when this is no object. The last duplicate
   * wins, as in Python.
   */
  member(key: string): JsonElement | undefined {
    if (this.#text.bytes[this.#start] !== openBrace) return undefined;
    let found: JsonElement | undefined;
    for (let member = this.first(); member !== undefined; member = member.next())
      if (member.hasKey(key)) found = member;
    return found;
  }

  /** All members of an object, to look up several of them; none when this is no object. */
  members(): JsonMembers {
    this.#members ??= this.#collectMembers();
    return this.#members;
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

  #collectMembers(): JsonMembers {
    const members: JsonElement[] = [];
    if (this.#text.bytes[this.#start] === openBrace) {
      for (let member = this.first(); member !== undefined; member = member.next()) members.push(member);
    }
    return new JsonMembers(members);
  }

  #child(position: number, isMember: boolean): JsonElement {
    const text = this.#text;
    if (!isMember) return new JsonElement(text, position, -1, -1, -1, this);
    const { bytes } = text;
    const keyEnd = skipString(bytes, position);
    return new JsonElement(text, skipColon(bytes, keyEnd), -1, position, keyEnd, this);
  }

  #findKeyEnd(): number {
    if (this.#keyEnd < 0) this.#keyEnd = skipString(this.#text.bytes, this.#keyStart);
    return this.#keyEnd;
  }

  #findEnd(): number {
    if (this.#end < 0) this.#end = skipValue(this.#text, this.#start);
    return this.#end;
  }
}

/** Up to here a walk over the members beats building a map. */
const mapThreshold = 32;

/** The members of an object. Of duplicates the last one counts, as in Python. */
export class JsonMembers {
  readonly #members: readonly JsonElement[];
  #byKey: ReadonlyMap<string, JsonElement> | undefined;

  constructor(members: readonly JsonElement[]) {
    this.#members = members;
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  get(key: string): JsonElement | undefined {
    const members = this.#members;
    if (members.length > mapThreshold) {
      this.#byKey ??= new Map(members.map((member) => [member.key, member]));
      return this.#byKey.get(key);
    }
    for (let index = members.length - 1; index >= 0; index -= 1) {
      const member = members[index]!;
      if (member.hasKey(key)) return member;
    }
    return undefined;
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

function skipValue({ bytes, spans }: ScannedJson, start: number): number {
  const first = bytes[start];
  const isContainer = first === openBrace || first === openBracket;
  if (first !== quote && !isContainer) return skipScalar(bytes, start);
  return spans.get(start) ?? (isContainer ? skipContainer(bytes, start) : skipString(bytes, start));
}

/** The position after a number, `true`, `false` or `null`. */
function skipScalar(bytes: Uint8Array, start: number): number {
  let position = start;
  while (position < bytes.length) {
    const byte = bytes[position] as number;
    if (byte === comma || byte === closeBrace || byte === closeBracket || byte <= 0x20) return position;
    position += 1;
  }
  return position;
}

/** The position after an array or object. Only for those that are short, with nothing long in them, or lie deep. */
function skipContainer(bytes: Uint8Array, start: number): number {
  let position = start;
  let depth = 0;
  while (position < bytes.length) {
    const byte = bytes[position];
    if (byte === quote) {
      position = skipString(bytes, position);
      continue;
    }
    position += 1;
    if (byte === openBrace || byte === openBracket) depth += 1;
    else if (byte === closeBrace || byte === closeBracket) depth -= 1;
    if (depth === 0) break;
  }
  return position;
}

/** The position after a string: its first quote that is not escaped. Only for those that are short or lie deep. */
function skipString(bytes: Uint8Array, start: number): number {
  let position = start + 1;
  while (position < bytes.length) {
    const byte = bytes[position];
    if (byte === quote) return position + 1;
    position += byte === backslash ? 2 : 1;
  }
  return bytes.length;
}
