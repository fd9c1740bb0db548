import type { KeyFindings, KeyWatch } from "./json-key-watch.ts";
import { jsonKeyAt } from "./json-keys.ts";
import { scalarEnd } from "./json-scalar.ts";
import { JsonScanError, unexpected } from "./json-scan-error.ts";
import { JsonStringScanner } from "./json-string-scanner.ts";

/** What comes next in the text. Up to `separator`, the end of an array or object may come too. */
const expecting = {
  firstKey: 0,
  firstElement: 1,
  separator: 2,
  key: 3,
  value: 4,
  colon: 5,
  document: 6,
  nothing: 7,
} as const;

/** From this length on, where a value below the top level ends is remembered: whoever walks over it need not look. */
const spanThreshold = 256;
/**
 * That deep, the object itself counted as 1: as far as anyone walks. Without an end to it, a text of little but brackets
 * would have a span for every four bytes.
 */
const deepestSpan = 4;

/** Where one top-level member lies. Byte offsets from the start of the text; ends are exclusive. */
export interface JsonMember {
  /** The key with its escapes decoded: `"kv\u005ftransfer_params"` is `kv_transfer_params`, as an engine sees it. */
  readonly key: string;
  /** The opening quote of the key. */
  readonly memberStart: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

/** Limits of a scan, and what it looks out for. */
export interface JsonScanOptions {
  /** How deep arrays and objects may nest, the object itself counted as 1. @default 128 */
  readonly maxDepth?: number | undefined;
  /**
   * How many top-level members there may be. Each costs far more memory than its few bytes of text, so a body
   * made of nothing else could exhaust it. @default 16384
   */
  readonly maxMembers?: number | undefined;
  /** Keys to look out for. @default none */
  readonly watch?: KeyWatch | undefined;
}

const defaultMaxDepth = 128;
const defaultMaxMembers = 16_384;

/**
 * Finds the members of a JSON object in UTF-8 without building values, as its bytes arrive. Strict (RFC 8259; no BOM, no NaN,
 * no trailing bytes), iterative, linear in the input. Whether the bytes are valid UTF-8 is the caller's to check.
 */
export class JsonScanner implements KeyFindings {
  /** Of the outermost object, in the order of the text. */
  readonly members: JsonMember[] = [];
  /** Where long values below the top level end, by where they start. */
  spans: Map<number, number> | undefined;
  forbiddenKey: string | undefined;
  notedKeys: Set<string> | undefined;
  /** Offset of the object's `{`; of its `}`. Known when the scan is over. */
  openOffset = 0;
  closeOffset = 0;
  readonly #maxDepth: number;
  readonly #maxMembers: number;
  readonly #watch: KeyWatch | undefined;
  #position = 0;
  #expecting: number = expecting.document;
  /** Start of each open array and object: no recursion, so nesting can't exhaust the stack. */
  readonly #starts: number[] = [];
  #memberStart = 0;
  #keyEnd = 0;
  /** For strings that are long or have escapes. */
  #strings: JsonStringScanner | undefined;
  #loaded: Uint8Array | undefined;
  /** Start of the string that the bytes ended in. */
  #brokenString = -1;
  /** How many bytes were there before: a number that they ended in is not looked through again, however it arrives. */
  #seen = 0;

  constructor(options: JsonScanOptions) {
    this.#maxDepth = options.maxDepth ?? defaultMaxDepth;
    this.#maxMembers = options.maxMembers ?? defaultMaxMembers;
    this.#watch = options.watch;
  }

  /**
   * Scans as far as the bytes go.
   *
   * @param bytes the text from its start; later calls bring at least the same bytes, in the same memory or another
   * @param final true when this is the whole text
   * @throws JsonScanError; the scan can't go on after that
   */
  scan(bytes: Uint8Array, final: boolean): void {
    // One loop with all in local variables, constants too: a bundle makes variables of a module's constants.
    const { firstKey, firstElement, separator, key, value, colon, document, nothing } = expecting;
    const quote = 0x22;
    const openBracket = 0x5b;
    const openBrace = 0x7b;
    const starts = this.#starts;
    const watch = this.#watch;
    const length = bytes.length;
    let depth = starts.length;
    // What the innermost array or object begins with: two less than what it ends with.
    let opener = depth === 0 ? 0 : (bytes[starts[depth - 1] as number] as number);
    let position = this.#position;
    let next = this.#expecting;
    while (position < length) {
      const byte = bytes[position] as number;
      if (byte <= 0x20 && (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09)) {
        position += 1;
        continue;
      }
      // Of the value that ends in this turn; most other tokens go on at once.
      let start = position;
      let end: number;
      if (next <= separator && byte === opener + 2) {
        end = position + 1;
        start = starts.pop() as number;
        depth -= 1;
        if (depth === 0) {
          this.closeOffset = position;
          position = end;
          next = nothing;
          continue;
        }
        opener = bytes[starts[depth - 1] as number] as number;
      } else if (next === separator && byte === 0x2c) {
        position += 1;
        next = opener === openBrace ? key : value;
        continue;
      } else if (next === colon && byte === 0x3a) {
        position += 1;
        next = value;
        continue;
      } else if (byte === quote && next <= value && next !== separator) {
        end = shortStringEnd(bytes, position);
        const short = end >= 0;
        if (!short) end = this.#longStringEnd(bytes, position, final);
        if (end < 0) break;
        if (next === key || next === firstKey) {
          if (watch !== undefined && (!short || watch.mayBe(bytes, position, end)))
            watch.look(bytes, position, end, this);
          if (depth === 1) {
            this.#memberStart = position;
            this.#keyEnd = end;
          }
          position = end;
          next = colon;
          continue;
        }
      } else if (
        (byte === openBrace && (next === value || next === firstElement || next === document)) ||
        (byte === openBracket && (next === value || next === firstElement))
      ) {
        if (depth === 0) this.openOffset = position;
        if (depth >= this.#maxDepth) throw tooDeep(this.#maxDepth, position);
        starts.push(position);
        depth += 1;
        opener = byte;
        position += 1;
        next = byte === openBrace ? firstKey : firstElement;
        continue;
      } else if (next === value || next === firstElement) {
        end = scalarEnd(bytes, position, Math.max(position, this.#seen), final);
        if (end < 0) break;
      } else {
        throw unexpectedToken(bytes, next, opener, position);
      }
      if (depth === 1) this.#addMember(bytes, start, end);
      else if (end - start >= spanThreshold && depth <= deepestSpan)
        (this.spans ??= new Map()).set(start, end);
      position = end;
      next = separator;
    }
    if (final && next !== nothing) throw unexpectedToken(bytes, next, opener, position);
    this.#position = position;
    this.#expecting = next;
    this.#seen = length;
  }

  /** End of a string that is long or has escapes; -1 when that is yet to come. */
  #longStringEnd(bytes: Uint8Array, start: number, final: boolean): number {
    const strings = (this.#strings ??= new JsonStringScanner());
    if (this.#loaded !== bytes) {
      strings.load(bytes);
      this.#loaded = bytes;
    }
    const end = strings.skip(start, this.#brokenString === start ? strings.position : start + 1, final);
    if (end < 0) this.#brokenString = start;
    return end;
  }

  #addMember(bytes: Uint8Array, valueStart: number, valueEnd: number): void {
    const memberStart = this.#memberStart;
    if (this.members.length >= this.#maxMembers)
      throw new JsonScanError(`Expected at most ${this.#maxMembers} members`, memberStart);
    const key = jsonKeyAt(bytes, memberStart, this.#keyEnd);
    this.members.push({ key, memberStart, valueStart, valueEnd });
  }
}

/** End of a short string without escapes; -1 for any other. */
function shortStringEnd(bytes: Uint8Array, start: number): number {
  const limit = Math.min(bytes.length, start + 64);
  for (let position = start + 1; position < limit; position += 1) {
    const byte = bytes[position] as number;
    if (byte === 0x22) return position + 1;
    if (byte === 0x5c || byte < 0x20) break;
  }
  return -1;
}

function tooDeep(maxDepth: number, position: number): JsonScanError {
  return new JsonScanError(`Expected at most ${maxDepth} nested arrays and objects`, position);
}

function unexpectedToken(bytes: Uint8Array, next: number, opener: number, position: number): JsonScanError {
  return unexpected(bytes, expectation(next, opener), position);
}

function expectation(next: number, opener: number): string {
  switch (next) {
    case expecting.firstKey:
    case expecting.key:
      return "a string";
    case expecting.firstElement:
    case expecting.value:
      return "a value";
    case expecting.separator:
      return opener === 0x7b ? '"," or "}"' : '"," or "]"';
    case expecting.colon:
      return '":"';
    case expecting.document:
      return '"{"';
    default:
      return "the end of input";
  }
}
