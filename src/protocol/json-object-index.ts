import { JsonElement } from "./json-element.ts";
import { type JsonKind, jsonKindOf } from "./json-kind.ts";
import { JsonScanError } from "./json-scan-error.ts";
import { JsonScanner, type JsonScanListener } from "./json-scanner.ts";
import { decodeJsonString, parseJsonText } from "./json-text.ts";
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
  /** Keys to take note of at any depth: those that are there are {@link JsonObjectIndex.notedKeys}. */
  readonly notedKeys?: ReadonlySet<string> | undefined;
}

const defaultMaxDepth = 128;
const defaultMaxMembers = 16_384;
/** Up to here a walk over the members beats building a map. */
const mapThreshold = 16;

/** What a scan found. */
export type JsonObjectParts = Pick<
  JsonObjectIndex,
  "bytes" | "members" | "spans" | "openOffset" | "closeOffset" | "forbiddenKey" | "notedKeys"
>;

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
  /** Those of the scan's `notedKeys` that are keys somewhere in the text, however they are escaped. */
  readonly notedKeys: ReadonlySet<string>;
  /** Where long values below the top level end, by where they start. */
  readonly spans: ReadonlyMap<number, number>;
  #byKey: Map<string, JsonMember> | undefined;
  #duplicates: Set<string> | undefined;

  constructor(found: JsonObjectParts) {
    this.bytes = found.bytes;
    this.members = found.members;
    this.spans = found.spans;
    this.openOffset = found.openOffset;
    this.closeOffset = found.closeOffset;
    this.forbiddenKey = found.forbiddenKey;
    this.notedKeys = found.notedKeys;
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
    return member === undefined ? undefined : parseJsonText(this.bytes, member.valueStart, member.valueEnd);
  }

  /** The member's value byte for byte (a view, not a copy); the last duplicate wins. */
  raw(key: string): RawJson | undefined {
    const member = this.#find(key);
    return member === undefined
      ? undefined
      : new RawJson(this.bytes.subarray(member.valueStart, member.valueEnd));
  }

  /** The member's value, to look into without parsing it; the last duplicate wins. */
  element(key: string): JsonElement | undefined {
    const member = this.#find(key);
    return member === undefined ? undefined : new JsonElement(this, member.valueStart, member.valueEnd);
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

  /** True for the member that counts among its duplicates. */
  isLast(member: JsonMember): boolean {
    return this.#find(member.key) === member;
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
  return new JsonObjectScan(options).finish(bytes);
}

/** The same, step by step while the bytes arrive: a large text then never holds up others for long. */
export class JsonObjectScan implements JsonScanListener {
  readonly #scanner: JsonScanner;
  readonly #maxMembers: number;
  readonly #forbiddenKeys: ReadonlySet<string> | undefined;
  /** Lengths of the forbidden keys within their quotes: others need not be read. */
  readonly #forbiddenLengths: ReadonlySet<number>;
  readonly #keysToNote: ReadonlySet<string> | undefined;
  readonly #lengthsToNote: ReadonlySet<number>;
  #notedKeys: Set<string> | undefined;
  readonly #members: JsonMember[] = [];
  #spans: Map<number, number> | undefined;
  #forbiddenKey: string | undefined;
  #bytes: Uint8Array = new Uint8Array(0);
  #failure: unknown;

  constructor(options: JsonScanOptions = {}) {
    this.#scanner = new JsonScanner(this, options.maxDepth ?? defaultMaxDepth);
    this.#maxMembers = options.maxMembers ?? defaultMaxMembers;
    this.#forbiddenKeys = options.forbiddenKeys;
    this.#forbiddenLengths = lengthsOf(options.forbiddenKeys);
    this.#keysToNote = options.notedKeys;
    this.#lengthsToNote = lengthsOf(options.notedKeys);
  }

  /**
   * Scans as far as the bytes go. What is wrong with them is told by {@link finish}.
   *
   * @param bytes the text from its start; later calls bring at least the same bytes, in the same memory or another
   */
  advance(bytes: Uint8Array): void {
    if (this.#failure !== undefined) return;
    this.#bytes = bytes;
    try {
      this.#scanner.scan(bytes, false);
    } catch (error) {
      this.#failure = error;
    }
  }

  /** @param bytes the whole text @throws {JsonScanError} and nothing else */
  finish(bytes: Uint8Array): JsonObjectIndex {
    if (this.#failure !== undefined) throw this.#failure;
    this.#bytes = bytes;
    this.#scanner.scan(bytes, true);
    return new JsonObjectIndex({
      bytes,
      members: this.#members,
      spans: this.#spans ?? noSpans,
      openOffset: this.#scanner.openOffset,
      closeOffset: this.#scanner.closeOffset,
      forbiddenKey: this.#forbiddenKey,
      notedKeys: this.#notedKeys ?? noKeys,
    });
  }

  /** @internal */
  onMember(memberStart: number, keyEnd: number, valueStart: number, valueEnd: number): void {
    if (this.#members.length >= this.#maxMembers)
      throw new JsonScanError(`Expected at most ${this.#maxMembers} members`, memberStart);
    const key = decodeJsonString(this.#bytes, memberStart, keyEnd);
    this.#members.push({ key, memberStart, valueStart, valueEnd });
  }

  /** @internal */
  onKey(start: number, end: number, escaped: boolean): void {
    const length = end - start - 2;
    if (!escaped && !this.#forbiddenLengths.has(length) && !this.#lengthsToNote.has(length)) return;
    const key = decodeJsonString(this.#bytes, start, end);
    if (this.#forbiddenKeys?.has(key) === true) this.#forbiddenKey ??= key;
    if (this.#keysToNote?.has(key) === true) (this.#notedKeys ??= new Set()).add(key);
  }

  /** @internal */
  onSpan(start: number, end: number): void {
    (this.#spans ??= new Map()).set(start, end);
  }
}

const noSpans: ReadonlyMap<number, number> = new Map();
const noKeys: ReadonlySet<string> = new Set();
const encoder = new TextEncoder();
const knownLengths = new WeakMap<ReadonlySet<string>, ReadonlySet<number>>();

function lengthsOf(keys: ReadonlySet<string> = noKeys): ReadonlySet<number> {
  let lengths = knownLengths.get(keys);
  if (lengths === undefined) {
    lengths = new Set([...keys].map((key) => encoder.encode(key).length));
    knownLengths.set(keys, lengths);
  }
  return lengths;
}
