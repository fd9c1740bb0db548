import { JsonScanError, unexpected } from "./json-scan-error.ts";
import { JsonStringScanner } from "./json-string-scanner.ts";

const quote = 0x22;
const comma = 0x2c;
const minus = 0x2d;
const dot = 0x2e;
const zero = 0x30;
const colon = 0x3a;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** What comes next in the text. */
const expecting = {
  document: 0,
  firstKey: 1,
  key: 2,
  restOfKey: 3,
  colon: 4,
  firstElement: 5,
  value: 6,
  restOfString: 7,
  separator: 8,
  nothing: 9,
} as const;

/** From this length on, where a value below the top level ends is remembered: whoever walks over it need not look. */
const spanThreshold = 256;

/** Hears of what a scan finds. All positions are offsets from the start of the text. */
export interface JsonScanListener {
  /** A member of the outermost object, in the order of the text. @throws JsonScanError to refuse it */
  onMember(memberStart: number, keyEnd: number, valueStart: number, valueEnd: number): void;
  /** A key, quotes included, at any depth. `escaped` tells whether there are backslashes in it. */
  onKey(start: number, end: number, escaped: boolean): void;
  /** A long value, below the top level. */
  onSpan(start: number, end: number): void;
}

/**
 * Walks over a JSON object in UTF-8 without building values, as its bytes arrive. Strict (RFC 8259; no BOM, no NaN,
 * no trailing bytes), iterative, linear in the input. Whether the bytes are valid UTF-8 is the caller's to check.
 */
export class JsonScanner {
  readonly #listener: JsonScanListener;
  readonly #maxDepth: number;
  readonly #strings = new JsonStringScanner();
  #bytes: Uint8Array = new Uint8Array(0);
  #position = 0;
  #expecting: number = expecting.document;
  /** Closing character and start of each open array and object: no recursion, so nesting can't exhaust the stack. */
  readonly #closers: number[] = [];
  readonly #starts: number[] = [];
  #stringStart = 0;
  #memberStart = 0;
  #keyEnd = 0;
  #valueStart = 0;
  /** Offset of the object's `{`; of its `}`. Known when the scan is over. */
  openOffset = 0;
  closeOffset = 0;

  /** @param maxDepth how deep arrays and objects may nest, the outermost counted as 1 */
  constructor(listener: JsonScanListener, maxDepth: number) {
    this.#listener = listener;
    this.#maxDepth = maxDepth;
  }

  /**
   * Scans as far as the bytes go.
   *
   * @param bytes the text from its start; later calls bring at least the same bytes, in the same memory or another
   * @param final true when this is the whole text
   * @throws JsonScanError; the scan can't go on after that
   */
  scan(bytes: Uint8Array, final: boolean): void {
    this.#bytes = bytes;
    this.#strings.load(bytes);
    while (this.#step(final));
  }

  /** Takes one token. @returns false when the bytes are used up */
  #step(final: boolean): boolean {
    if (this.#expecting === expecting.restOfString) return this.#string(final, expecting.separator);
    if (this.#expecting === expecting.restOfKey) return this.#string(final, expecting.colon);
    const bytes = this.#bytes;
    const position = this.#skipWhitespace();
    if (position >= bytes.length && (!final || this.#expecting === expecting.nothing)) return false;
    const byte = bytes[position] ?? -1;
    switch (this.#expecting) {
      case expecting.value:
        return this.#value(byte, final);
      case expecting.separator:
        return this.#separator(byte);
      case expecting.colon:
        if (byte !== colon) throw this.#unexpected('":"', position);
        this.#position = position + 1;
        this.#expecting = expecting.value;
        return true;
      case expecting.firstElement:
        return byte === closeBracket ? this.#close() : this.#value(byte, final);
      case expecting.firstKey:
        return byte === closeBrace ? this.#close() : this.#key(byte, final);
      case expecting.key:
        return this.#key(byte, final);
      case expecting.document:
        if (byte !== openBrace) throw this.#unexpected('"{"', position);
        this.openOffset = position;
        return this.#open(byte);
      default:
        throw this.#unexpected("the end of input", position);
    }
  }

  #key(byte: number, final: boolean): boolean {
    const position = this.#position;
    if (byte !== quote) throw this.#unexpected("a string", position);
    if (this.#closers.length === 1) this.#memberStart = position;
    this.#beginString(expecting.restOfKey);
    return this.#string(final, expecting.colon);
  }

  #value(byte: number, final: boolean): boolean {
    const position = this.#position;
    if (this.#closers.length === 1) this.#valueStart = position;
    if (byte === quote) {
      this.#beginString(expecting.restOfString);
      return this.#string(final, expecting.separator);
    }
    if (byte === openBrace || byte === openBracket) return this.#open(byte);
    const end = this.#scalarEnd(byte, position, final);
    if (end < 0) return false;
    this.#endValue(position, end);
    return true;
  }

  #beginString(rest: number): void {
    this.#stringStart = this.#position;
    this.#strings.position = this.#position + 1;
    this.#expecting = rest;
  }

  /** The rest of a string whose start was seen. */
  #string(final: boolean, next: number): boolean {
    const start = this.#stringStart;
    const end = this.#strings.skip(start, this.#strings.position, final);
    if (end < 0) return false;
    if (next === expecting.separator) {
      this.#endValue(start, end);
      return true;
    }
    if (this.#closers.length === 1) this.#keyEnd = end;
    this.#listener.onKey(start, end, this.#strings.escaped);
    this.#position = end;
    this.#expecting = next;
    return true;
  }

  #open(byte: number): boolean {
    const position = this.#position;
    if (this.#closers.length >= this.#maxDepth) {
      throw new JsonScanError(`Expected at most ${this.#maxDepth} nested arrays and objects`, position);
    }
    this.#closers.push(byte === openBrace ? closeBrace : closeBracket);
    this.#starts.push(position);
    this.#position = position + 1;
    this.#expecting = byte === openBrace ? expecting.firstKey : expecting.firstElement;
    return true;
  }

  #close(): boolean {
    const position = this.#position;
    this.#closers.pop();
    const start = this.#starts.pop() as number;
    if (this.#closers.length > 0) {
      this.#endValue(start, position + 1);
    } else {
      this.closeOffset = position;
      this.#position = position + 1;
      this.#expecting = expecting.nothing;
    }
    return true;
  }

  #endValue(start: number, end: number): void {
    this.#position = end;
    this.#expecting = expecting.separator;
    if (this.#closers.length === 1) {
      this.#listener.onMember(this.#memberStart, this.#keyEnd, this.#valueStart, end);
    } else if (end - start >= spanThreshold) {
      this.#listener.onSpan(start, end);
    }
  }

  /** After a value: a comma, or the end of what it is in. */
  #separator(byte: number): boolean {
    const closer = this.#closers[this.#closers.length - 1] as number;
    if (byte === closer) return this.#close();
    if (byte !== comma) {
      throw this.#unexpected(closer === closeBrace ? '"," or "}"' : '"," or "]"', this.#position);
    }
    this.#position += 1;
    this.#expecting = closer === closeBrace ? expecting.key : expecting.value;
    return true;
  }

  #skipWhitespace(): number {
    const bytes = this.#bytes;
    let position = this.#position;
    while (position < bytes.length) {
      const byte = bytes[position] as number;
      if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) break;
      position += 1;
    }
    this.#position = position;
    return position;
  }

  /** End of a number, `true`, `false` or `null`; -1 when it may go on behind the bytes there are. */
  #scalarEnd(first: number, position: number, final: boolean): number {
    const literal = literalOf(first);
    if (literal !== undefined) {
      if (!final && position + literal.length > this.#bytes.length) return -1;
      return this.#literalEnd(literal, position);
    }
    if (first !== minus && !isDigit(first)) throw this.#unexpected("a value", position);
    if (!final && this.#numberMayGoOn(position)) return -1;
    return this.#numberEnd(position);
  }

  #literalEnd(literal: string, position: number): number {
    for (let index = 1; index < literal.length; index += 1) {
      if (this.#bytes[position + index] !== literal.charCodeAt(index))
        throw this.#unexpected(literal, position + index);
    }
    return position + literal.length;
  }

  #numberMayGoOn(position: number): boolean {
    const bytes = this.#bytes;
    while (position < bytes.length && isNumberByte(bytes[position] as number)) position += 1;
    return position === bytes.length;
  }

  #numberEnd(start: number): number {
    const bytes = this.#bytes;
    let position = bytes[start] === minus ? start + 1 : start;
    position = bytes[position] === zero ? position + 1 : this.#digitsEnd(position);
    if (bytes[position] === dot) position = this.#digitsEnd(position + 1);
    const exponent = bytes[position];
    if (exponent === 0x65 || exponent === 0x45) {
      const sign = bytes[position + 1];
      position = this.#digitsEnd(sign === minus || sign === 0x2b ? position + 2 : position + 1);
    }
    return position;
  }

  /** One digit or more. */
  #digitsEnd(position: number): number {
    const bytes = this.#bytes;
    if (!isDigit(bytes[position] ?? -1)) throw this.#unexpected("a digit", position);
    do position += 1;
    while (isDigit(bytes[position] ?? -1));
    return position;
  }

  #unexpected(expected: string, position: number): JsonScanError {
    return unexpected(this.#bytes, expected, position);
  }
}

function literalOf(first: number): string | undefined {
  if (first === 0x74) return "true";
  if (first === 0x66) return "false";
  return first === 0x6e ? "null" : undefined;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function isNumberByte(byte: number): boolean {
  return isDigit(byte) || byte === minus || byte === 0x2b || byte === dot || byte === 0x65 || byte === 0x45;
}
