import { JsonElement } from "./json-element.ts";
import { type JsonKind, jsonKindOf } from "./json-kind.ts";
import { type JsonMember, JsonScanner, type JsonScanOptions } from "./json-scanner.ts";
import { parseJsonText } from "./json-text.ts";
import { RawJson } from "./raw-json.ts";

/** Up to here a walk over the members beats building a map. */
const mapThreshold = 16;

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
  /** The first key that the scan was to forbid and that is somewhere in the text, however it is escaped. */
  readonly forbiddenKey: string | undefined;
  /** The keys that the scan was to note and that are somewhere in the text, however they are escaped. */
  readonly notedKeys: ReadonlySet<string>;
  /** Where long values below the top level end, by where they start. */
  readonly spans: ReadonlyMap<number, number>;
  #byKey: Map<string, JsonMember> | undefined;
  #duplicates: ReadonlySet<string> | undefined;

  /** @param found by a scan that is over */
  constructor(bytes: Uint8Array, found: JsonScanner) {
    this.bytes = bytes;
    this.members = found.members;
    this.spans = found.spans ?? noSpans;
    this.openOffset = found.openOffset;
    this.closeOffset = found.closeOffset;
    this.forbiddenKey = found.forbiddenKey;
    this.notedKeys = found.notedKeys ?? noKeys;
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

  /** The object itself, to look into. */
  get root(): JsonElement {
    return new JsonElement(this, this.openOffset, this.closeOffset + 1, -1);
  }

  /** The member's value, to look into without parsing it; the last duplicate wins. */
  element(key: string): JsonElement | undefined {
    const member = this.#find(key);
    if (member === undefined) return undefined;
    return new JsonElement(this, member.valueStart, member.valueEnd, member.memberStart);
  }

  /** True when the key is there more than once, however each is escaped. */
  isDuplicate(key: string): boolean {
    this.#duplicates ??= duplicatesAmong(this.members);
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
  const scanner = new JsonScanner(options);
  scanner.scan(bytes, true);
  return new JsonObjectIndex(bytes, scanner);
}

/** The same, step by step while the bytes arrive: a large text then never holds up others for long. */
export class JsonObjectScan {
  readonly #scanner: JsonScanner;
  #failure: unknown;

  constructor(options: JsonScanOptions = {}) {
    this.#scanner = new JsonScanner(options);
  }

  /**
   * Scans as far as the bytes go. What is wrong with them is told by {@link finish}.
   *
   * @param bytes the text from its start; later calls bring at least the same bytes, in the same memory or another
   */
  advance(bytes: Uint8Array): void {
    if (this.#failure !== undefined) return;
    try {
      this.#scanner.scan(bytes, false);
    } catch (error) {
      this.#failure = error;
    }
  }

  /** @param bytes the whole text @throws {JsonScanError} and nothing else */
  finish(bytes: Uint8Array): JsonObjectIndex {
    if (this.#failure !== undefined) throw this.#failure;
    this.#scanner.scan(bytes, true);
    return new JsonObjectIndex(bytes, this.#scanner);
  }
}

const noSpans: ReadonlyMap<number, number> = new Map();
const noKeys: ReadonlySet<string> = new Set();

function duplicatesAmong(members: readonly JsonMember[]): ReadonlySet<string> {
  if (members.length <= mapThreshold && !hasDuplicates(members)) return noKeys;
  const seen = new Set<string>();
  const duplicates = new Set<string>();
  for (const { key } of members) {
    if (seen.has(key)) duplicates.add(key);
    else seen.add(key);
  }
  return duplicates;
}

/** Only for few: looks at every pair. */
function hasDuplicates(members: readonly JsonMember[]): boolean {
  for (let later = 1; later < members.length; later += 1) {
    const { key } = members[later] as JsonMember;
    for (let earlier = 0; earlier < later; earlier += 1) {
      if ((members[earlier] as JsonMember).key === key) return true;
    }
  }
  return false;
}
