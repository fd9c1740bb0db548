import { JsonScanError, JsonScanner } from "./json-scanner.ts";
import { RawJson } from "./raw-json.ts";

/** Where one top-level member lies. Byte offsets from the start of the text; ends are exclusive. */
export interface JsonMember {
  /** The key with its escapes decoded: `"kv\u005ftransfer_params"` is `kv_transfer_params`, as an engine sees it. */
  readonly key: string;
  /** The opening quote of the key. */
  readonly memberStart: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

/** Kind of a JSON value. */
export type JsonKind = "object" | "array" | "string" | "number" | "boolean" | "null";

/** Kind of the valid JSON value that starts with this byte. */
export function jsonKindOf(firstByte: number): JsonKind {
  switch (firstByte) {
    case 0x7b:
      return "object";
    case 0x5b:
      return "array";
    case 0x22:
      return "string";
    case 0x74:
    case 0x66:
      return "boolean";
    case 0x6e:
      return "null";
    default:
      return "number";
  }
}

/** Limits of {@link scanJsonObject}. */
export interface JsonScanOptions {
  /** How deep arrays and objects may nest, the object itself counted as 1. @default 128 */
  readonly maxDepth?: number | undefined;
  /**
   * How many top-level members there may be. Each costs far more memory than its few bytes of text, so a body
   * made of nothing else could exhaust it. @default 16384
   */
  readonly maxMembers?: number | undefined;
  /** Keys to look out for at any depth: the first one found is {@link JsonObjectIndex.forbiddenKey}. */
  readonly forbiddenKeys?: ReadonlySet<string> | undefined;
}

const defaultMaxDepth = 128;
const defaultMaxMembers = 16_384;
/** Up to here a walk over the members beats building a map. */
const mapThreshold = 16;
const asciiLimit = 32;

/** The top-level members of one JSON object, found without parsing their values. Made by {@link scanJsonObject}. */
export class JsonObjectIndex {
  /** The whole text as it came. Not a copy: do not change it. */
  readonly bytes: Uint8Array;
  /** In the order of the text, duplicates included. */
  readonly members: readonly JsonMember[];
  /** Offset of the object's `{`. */
  readonly openOffset: number;
  /** Offset of the object's `}`. */
  readonly closeOffset: number;
  /** The first of the scan's `forbiddenKeys` that is a key somewhere in the text, however it is escaped. */
  readonly forbiddenKey: string | undefined;
  #byKey: Map<string, JsonMember> | undefined;
  #duplicates: Set<string> | undefined;

  constructor(
    bytes: Uint8Array,
    members: readonly JsonMember[],
    openOffset: number,
    closeOffset: number,
    forbiddenKey?: string,
  ) {
    this.forbiddenKey = forbiddenKey;
    this.bytes = bytes;
    this.members = members;
    this.openOffset = openOffset;
    this.closeOffset = closeOffset;
  }

  has(key: string): boolean {
    return this.#find(key) !== undefined;
  }

  /** Kind of the member's value, from its first byte; undefined when there is no such member. */
  kind(key: string): JsonKind | undefined {
    const member = this.#find(key);
    if (member === undefined) return undefined;
    return jsonKindOf(this.bytes[member.valueStart] as number);
  }

  /** The member's value, parsed anew at each call; undefined when there is no such member. The last duplicate wins, as in Python. */
  value(key: string): unknown {
    const member = this.#find(key);
    return member === undefined
      ? undefined
      : JSON.parse(decodeSlice(this.bytes, member.valueStart, member.valueEnd));
  }

  /** The member's value byte for byte (a view, not a copy); the last duplicate wins. */
  raw(key: string): RawJson | undefined {
    const member = this.#find(key);
    return member === undefined
      ? undefined
      : new RawJson(this.bytes.subarray(member.valueStart, member.valueEnd));
  }

  /** True when the key is there more than once, however each is escaped. */
  isDuplicate(key: string): boolean {
    if (this.#duplicates === undefined) {
      const seen = new Set<string>();
      this.#duplicates = new Set();
      for (const member of this.members) {
        if (seen.has(member.key)) this.#duplicates.add(member.key);
        else seen.add(member.key);
      }
    }
    return this.#duplicates.has(key);
  }

  #find(key: string): JsonMember | undefined {
    if (this.members.length > mapThreshold) {
      this.#byKey ??= new Map(this.members.map((member) => [member.key, member]));
      return this.#byKey.get(key);
    }
    for (let index = this.members.length - 1; index >= 0; index -= 1) {
      const member = this.members[index] as JsonMember;
      if (member.key === key) return member;
    }
    return undefined;
  }
}

/**
 * Finds the top-level members of a JSON object and checks the whole text strictly (RFC 8259; no BOM, no NaN, no
 * trailing bytes). Duplicate keys are allowed, as in Python: ask {@link JsonObjectIndex.isDuplicate}.
 *
 * Whether the bytes are valid UTF-8 is the caller's to check.
 *
 * @throws {JsonScanError} and nothing else
 */
export function scanJsonObject(bytes: Uint8Array, options: JsonScanOptions = {}): JsonObjectIndex {
  const forbidden = options.forbiddenKeys;
  let forbiddenKey: string | undefined;
  const onKey =
    forbidden === undefined
      ? undefined
      : (start: number, end: number): void => {
          if (forbiddenKey !== undefined) return;
          const key = decodeKey(bytes, start, end);
          if (forbidden.has(key)) forbiddenKey = key;
        };
  const scanner = new JsonScanner(bytes, options.maxDepth ?? defaultMaxDepth, onKey);
  const maxMembers = options.maxMembers ?? defaultMaxMembers;
  const openOffset = scanner.skipWhitespace(0);
  if (scanner.at(openOffset) !== 0x7b) throw scanner.unexpected('"{"', openOffset);
  const members: JsonMember[] = [];
  let position = scanner.skipWhitespace(openOffset + 1);
  if (scanner.at(position) !== 0x7d) {
    for (;;) {
      if (members.length >= maxMembers)
        throw new JsonScanError(`Expected at most ${maxMembers} members`, position);
      const memberStart = position;
      const keyEnd = scanner.skipString(memberStart);
      const valueStart = scanner.skipColon(keyEnd);
      const valueEnd = scanner.skipValue(valueStart, 1);
      const key = decodeKey(bytes, memberStart, keyEnd);
      if (forbiddenKey === undefined && forbidden?.has(key) === true) forbiddenKey = key;
      members.push({ key, memberStart, valueStart, valueEnd });
      position = scanner.skipWhitespace(valueEnd);
      const next = scanner.at(position);
      if (next === 0x7d) break;
      if (next !== 0x2c) throw scanner.unexpected('"," or "}"', position);
      position = scanner.skipWhitespace(position + 1);
    }
  }
  const end = scanner.skipWhitespace(position + 1);
  if (end !== bytes.length) throw scanner.unexpected("the end of input", end);
  return new JsonObjectIndex(bytes, members, openOffset, position, forbiddenKey);
}

function decodeKey(bytes: Uint8Array, start: number, end: number): string {
  const plain = decodePlainAscii(bytes, start + 1, end - 1);
  return plain ?? (JSON.parse(decodeSlice(bytes, start, end)) as string);
}

/** Text of a short run of ASCII without backslashes, or undefined: a call to TextDecoder costs more than the scan of a key. */
function decodePlainAscii(bytes: Uint8Array, start: number, end: number): string | undefined {
  if (end - start > asciiLimit) return undefined;
  let text = "";
  for (let position = start; position < end; position += 1) {
    const byte = bytes[position] as number;
    if (byte >= 0x80 || byte === 0x5c) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}

// A value may start with U+FEFF within its quotes only, so nothing is lost; ignoreBOM says so to the decoder too.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

function decodeSlice(bytes: Uint8Array, start: number, end: number): string {
  return decodePlainAscii(bytes, start, end) ?? decoder.decode(bytes.subarray(start, end));
}
