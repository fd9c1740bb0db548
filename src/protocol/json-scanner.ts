/** The bytes are not one valid JSON document of the expected kind, or go beyond a limit. */
export class JsonScanError extends Error {
  override readonly name = "JsonScanError";
  /** Byte at which the document stopped being acceptable, from 0. */
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(`${message} at byte ${offset}`);
    this.offset = offset;
  }
}

const quote = 0x22;
const comma = 0x2c;
const minus = 0x2d;
const colon = 0x3a;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const endOfInput = -1;

// The four bytes of a word are tested at once. With every high bit set no subtraction borrows from its
// neighbour, so each byte of the result is exact: its high bit is set where the byte ends or escapes a string.
const highBits = 0x80808080 | 0;
const controlOrQuoteFlip = 0x02020202; // maps `"` (0x22) to 0x20, so that one "< 0x21" finds it and control characters
const controlOrQuoteLimit = 0x21212121;
const backslashFlip = 0x5c5c5c5c;
const one = 0x01010101;

/** 1 for the bytes that, after a backslash, are a whole escape. */
const simpleEscapes = new Uint8Array(256);
for (const escape of '"\\/bfnrt') simpleEscapes[escape.charCodeAt(0)] = 1;

/** Shorter texts are not worth a word view. */
const wordThreshold = 64;
// A word read as a little-endian number has its first byte lowest, which the position arithmetic relies on.
const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/**
 * Walks over JSON text in UTF-8 without building values. Strict (RFC 8259), iterative, linear in the input.
 *
 * Every `skip` method takes the position of a first byte and returns the position after the last one, or throws
 * {@link JsonScanError}. Whether the bytes are valid UTF-8 is the caller's to check.
 */
export class JsonScanner {
  readonly bytes: Uint8Array;
  readonly #words: Int32Array | undefined;
  /** How far the text starts into its first word, in bytes. */
  readonly #lead: number;
  readonly #maxDepth: number;
  readonly #onKey: ((start: number, end: number) => void) | undefined;

  /**
   * @param maxDepth how deep arrays and objects may nest, the outermost counted as 1
   * @param onKey told of every key below the top level: its offsets, quotes included
   */
  constructor(bytes: Uint8Array, maxDepth: number, onKey?: (start: number, end: number) => void) {
    this.bytes = bytes;
    this.#onKey = onKey;
    this.#maxDepth = maxDepth;
    this.#lead = bytes.byteOffset & 3;
    this.#words =
      littleEndian && bytes.length >= wordThreshold
        ? new Int32Array(bytes.buffer, bytes.byteOffset - this.#lead, (this.#lead + bytes.length) >> 2)
        : undefined;
  }

  /** The byte at `position`, or -1 past the end. */
  at(position: number): number {
    return position < this.bytes.length ? (this.bytes[position] as number) : endOfInput;
  }

  skipWhitespace(position: number): number {
    const bytes = this.bytes;
    while (position < bytes.length) {
      const byte = bytes[position] as number;
      if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) break;
      position += 1;
    }
    return position;
  }

  /** Any value; `depth` is how many arrays and objects are open around it. */
  skipValue(position: number, depth: number): number {
    const first = this.at(position);
    if (first === quote) return this.skipString(position);
    if (first === openBrace || first === openBracket) return this.#skipContainer(position, depth);
    return this.#skipScalar(position, first);
  }

  /** A string, its quotes included. */
  skipString(start: number): number {
    const bytes = this.bytes;
    const length = bytes.length;
    if (this.at(start) !== quote) throw this.unexpected("a string", start);
    let position = start + 1;
    // Most strings are short (keys, ids): words pay only after some bytes.
    const bytewiseEnd = this.#words === undefined ? length : Math.min(length, position + 12);
    while (position < bytewiseEnd) {
      const byte = bytes[position] as number;
      if (byte === quote) return position + 1;
      if (byte === backslash) position = this.#skipEscape(position);
      else if (byte < 0x20) throw this.unexpected("no bare control character in a string", position);
      else position += 1;
    }
    return this.#words === undefined
      ? this.#unterminated(start)
      : this.#skipStringByWords(start, position, this.#words);
  }

  #skipStringByWords(start: number, from: number, words: Int32Array): number {
    const bytes = this.bytes;
    const lead = this.#lead;
    const wordCount = words.length;
    let position = from + lead;
    let wordIndex = position >> 2;
    // Bytes of the first word that lie before the position do not count.
    let mask = highBits << ((position & 3) << 3);
    while (wordIndex < wordCount) {
      const found = ~plainBytes(words[wordIndex] as number) & mask;
      if (found === 0) {
        wordIndex += 1;
        mask = highBits;
        // Long clean runs go four words at a time. Only tried now and then: where escapes are frequent it costs.
        if ((wordIndex & 15) === 0) {
          while (wordIndex + 3 < wordCount) {
            const front = plainBytes(words[wordIndex] as number) & plainBytes(words[wordIndex + 1] as number);
            const back =
              plainBytes(words[wordIndex + 2] as number) & plainBytes(words[wordIndex + 3] as number);
            if ((front & back & highBits) !== highBits) break;
            wordIndex += 4;
          }
        }
        continue;
      }
      position = (wordIndex << 2) + ((31 - Math.clz32(found & -found)) >> 3);
      const byte = bytes[position - lead] as number;
      if (byte === quote) return position - lead + 1;
      if (byte !== backslash) throw this.unexpected("no bare control character in a string", position - lead);
      position = this.#skipEscape(position - lead) + lead;
      wordIndex = position >> 2;
      mask = highBits << ((position & 3) << 3);
    }
    position = Math.max(position, wordIndex << 2) - lead;
    while (position < bytes.length) {
      const byte = bytes[position] as number;
      if (byte === quote) return position + 1;
      if (byte === backslash) position = this.#skipEscape(position);
      else if (byte < 0x20) throw this.unexpected("no bare control character in a string", position);
      else position += 1;
    }
    return this.#unterminated(start);
  }

  #skipEscape(position: number): number {
    const escaped = this.at(position + 1);
    if (simpleEscapes[escaped] === 1) return position + 2;
    if (escaped !== 0x75) throw this.unexpected("a valid escape", position + 1);
    for (let digit = position + 2; digit < position + 6; digit += 1) {
      if (!isHexDigit(this.at(digit))) throw this.unexpected("four hexadecimal digits", digit);
    }
    return position + 6;
  }

  /** An array or object and all it holds. */
  #skipContainer(start: number, depth: number): number {
    // The closing character of each open container: no recursion, so nesting can't exhaust the stack.
    const open: number[] = [];
    let position = start;
    for (;;) {
      const first = this.at(position);
      if (first === openBrace || first === openBracket) {
        if (depth + open.length >= this.#maxDepth) {
          throw new JsonScanError(`Expected at most ${this.#maxDepth} nested arrays and objects`, position);
        }
        const closer = first === openBrace ? closeBrace : closeBracket;
        open.push(closer);
        position = this.skipWhitespace(position + 1);
        if (this.at(position) !== closer) {
          if (first === openBrace) position = this.skipKey(position);
          continue;
        }
      } else {
        position = first === quote ? this.skipString(position) : this.#skipScalar(position, first);
        position = this.skipWhitespace(position);
      }
      // After a value, or at the closing character of an empty container.
      for (;;) {
        const closer = open[open.length - 1] as number;
        const next = this.at(position);
        if (next === comma) {
          position = this.skipWhitespace(position + 1);
          if (closer === closeBrace) position = this.skipKey(position);
          break;
        }
        if (next !== closer)
          throw this.unexpected(closer === closeBrace ? '"," or "}"' : '"," or "]"', position);
        position += 1;
        open.pop();
        if (open.length === 0) return position;
        position = this.skipWhitespace(position);
      }
    }
  }

  /** A key, its colon, and the whitespace around that: ends at the value. */
  skipKey(position: number): number {
    const end = this.skipString(position);
    this.#onKey?.(position, end);
    return this.skipColon(end);
  }

  /** A colon and the whitespace around it. */
  skipColon(position: number): number {
    position = this.skipWhitespace(position);
    if (this.at(position) !== colon) throw this.unexpected('":"', position);
    return this.skipWhitespace(position + 1);
  }

  #skipScalar(position: number, first: number): number {
    if (first === minus || isDigit(first)) return this.#skipNumber(position);
    if (first === 0x74) return this.#skipLiteral("true", position);
    if (first === 0x66) return this.#skipLiteral("false", position);
    if (first === 0x6e) return this.#skipLiteral("null", position);
    throw this.unexpected("a value", position);
  }

  #skipLiteral(literal: string, position: number): number {
    for (let index = 1; index < literal.length; index += 1) {
      if (this.at(position + index) !== literal.charCodeAt(index))
        throw this.unexpected(literal, position + index);
    }
    return position + literal.length;
  }

  #skipNumber(position: number): number {
    if (this.at(position) === minus) position += 1;
    position = this.at(position) === 0x30 ? position + 1 : this.#skipDigits(position);
    if (this.at(position) === 0x2e) position = this.#skipDigits(position + 1);
    const exponent = this.at(position);
    if (exponent === 0x65 || exponent === 0x45) {
      const sign = this.at(position + 1);
      position = this.#skipDigits(sign === minus || sign === 0x2b ? position + 2 : position + 1);
    }
    return position;
  }

  /** One digit or more. */
  #skipDigits(position: number): number {
    if (!isDigit(this.at(position))) throw this.unexpected("a digit", position);
    do position += 1;
    while (isDigit(this.at(position)));
    return position;
  }

  #unterminated(start: number): never {
    throw new JsonScanError(
      `Expected the end of the string that starts at byte ${start}, got the end of input`,
      this.bytes.length,
    );
  }

  /** The error for anything but `expected` at `position`. */
  unexpected(expected: string, position: number): JsonScanError {
    const byte = this.at(position);
    const got =
      byte === endOfInput
        ? "the end of input"
        : byte > 0x20 && byte < 0x7f
          ? JSON.stringify(String.fromCharCode(byte))
          : `byte 0x${byte.toString(16).padStart(2, "0")}`;
    return new JsonScanError(`Expected ${expected}, got ${got}`, position);
  }
}

/** High bit of each byte: set where the byte neither ends nor escapes a string and is no control character. */
function plainBytes(word: number): number {
  const high = word | highBits;
  return (((high ^ controlOrQuoteFlip) - controlOrQuoteLimit) & ((high ^ backslashFlip) - one)) | word;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function isHexDigit(byte: number): boolean {
  return isDigit(byte) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
}
