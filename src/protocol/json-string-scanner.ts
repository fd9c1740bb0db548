import { JsonScanError, unexpected } from "./json-scan-error.ts";
import { type WideStringScan, wideStringScan } from "./wide-string-scan.ts";

const quote = 0x22;
const backslash = 0x5c;
const letterU = 0x75;

/** 1 for the bytes that, after a backslash, are a whole escape. */
const simpleEscapes = new Uint8Array(256);
for (const escape of '"\\/bfnrt') simpleEscapes[escape.charCodeAt(0)] = 1;

/** Shorter texts are not worth a word view. */
const wordThreshold = 64;
/** Most strings are short (keys, ids): words pay only after some bytes. */
const bytewiseLength = 12;
/** From here on a string is long enough for the wide scan, whose call costs as much as some hundred bytes by words. */
const wideThreshold = 256;
// A word read as a little-endian number has its first byte lowest, which the position arithmetic relies on.
const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const noWords = new Int32Array(0);

/**
 * Finds the ends of strings in JSON text, and checks what is in them (RFC 8259): most of the bytes of a prompt go
 * through here and nowhere else. Whether they are valid UTF-8 is the caller's to check.
 */
export class JsonStringScanner {
  /** Where the scan of a string stopped that is not complete yet. */
  position = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #words: Int32Array = noWords;
  /** How far the text starts into its first word, in bytes. */
  #lead = 0;
  readonly #wideScan: () => WideStringScan | undefined;

  /** @param wideScan for long strings; where it gives none, they are scanned by words */
  constructor(wideScan = wideStringScan) {
    this.#wideScan = wideScan;
  }

  /** Sets the text that positions are in. */
  load(bytes: Uint8Array): void {
    this.#bytes = bytes;
    if (!littleEndian || bytes.length < wordThreshold) return;
    this.#lead = bytes.byteOffset & 3;
    this.#words = new Int32Array(
      bytes.buffer,
      bytes.byteOffset - this.#lead,
      (this.#lead + bytes.length) >> 2,
    );
  }

  /**
   * Goes on within a string.
   *
   * @param start of the string, its opening quote; for errors
   * @param from the first byte after that quote, or `position` of an earlier try
   * @param final true when there will be no more bytes
   * @returns the position after the closing quote, or -1 when that is yet to come: goes on at `position`
   * @throws JsonScanError
   */
  skip(start: number, from: number, final: boolean): number {
    const bytes = this.#bytes;
    const length = bytes.length;
    let position = from;
    const bytewiseEnd = this.#words.length === 0 ? length : Math.min(length, position + bytewiseLength);
    while (position < bytewiseEnd) {
      const byte = bytes[position] as number;
      if (byte === quote) return position + 1;
      if (byte === backslash) {
        const next = this.#afterEscape(position, final);
        if (next < 0) return this.#pause(position);
        position = next;
      } else if (byte < 0x20) {
        throw unexpected(bytes, "no bare control character in a string", position);
      } else {
        position += 1;
      }
    }
    if (position < length) {
      position = this.#skipPlain(start, position);
      while (position < length) {
        const byte = bytes[position] as number;
        if (byte === quote) return position + 1;
        if (byte === backslash) {
          // Only what was left: an escape that is unusual, wrong, or near the end.
          const next = this.#afterEscape(position, final);
          if (next < 0) return this.#pause(position);
          position = this.#skipPlain(start, next);
        } else if (byte < 0x20) {
          throw unexpected(bytes, "no bare control character in a string", position);
        } else {
          position += 1;
        }
      }
    }
    if (!final) return this.#pause(length);
    throw new JsonScanError(
      `Expected the end of the string that starts at byte ${start}, got the end of input`,
      length,
    );
  }

  /** Goes over plain bytes and escapes, many at a time, up to the first byte that needs a closer look. */
  #skipPlain(start: number, from: number): number {
    const bytes = this.#bytes;
    const wideFrom = Math.min(start + wideThreshold, bytes.length);
    const position = from < wideFrom ? this.#skipWords(from, wideFrom) : from;
    if (position < wideFrom || position === bytes.length) return position;
    const wide = this.#wideScan();
    return wide === undefined
      ? this.#skipWords(position, bytes.length)
      : wide.skip(bytes, position, position - start);
  }

  /** Goes over plain bytes and simple escapes, up to the first byte that is neither, or to the last word before `to`. */
  #skipWords(from: number, to: number): number {
    // The four bytes of a word are tested at once. With every high bit set no subtraction borrows from its neighbour, so
    // each byte of the result is exact: its high bit is set where the byte neither ends nor escapes a string.
    // All of it stands within this function, because a bundle makes variables of a module's constants: looked up for
    // every word, they double the time.
    const highBits = 0x80808080 | 0;
    const flipQuote = 0x02020202; // maps `"` (0x22) to 0x20, so that one "< 0x21" finds it and control characters
    const belowSpecial = 0x21212121;
    const flipBackslash = 0x5c5c5c5c;
    const one = 0x01010101;
    const escapes = simpleEscapes;
    const bytes = this.#bytes;
    const words = this.#words;
    const lead = this.#lead;
    const wordCount = Math.min(words.length, (lead + to + 3) >> 2);
    const last = bytes.length - 1;
    let position = from + lead;
    let wordIndex = position >> 2;
    // Bytes of the first word that lie before the position do not count.
    let mask = highBits << ((position & 3) << 3);
    while (wordIndex < wordCount) {
      const word = words[wordIndex] as number;
      const high = word | highBits;
      const plain = (((high ^ flipQuote) - belowSpecial) & ((high ^ flipBackslash) - one)) | word;
      const found = ~plain & mask;
      if (found === 0) {
        wordIndex += 1;
        mask = highBits;
        // Long clean runs go two words at a time. Only tried now and then: where escapes are frequent it costs.
        if ((wordIndex & 15) !== 0) continue;
        while (wordIndex + 1 < wordCount) {
          const front = words[wordIndex] as number;
          const back = words[wordIndex + 1] as number;
          const highFront = front | highBits;
          const highBack = back | highBits;
          const plainFront =
            (((highFront ^ flipQuote) - belowSpecial) & ((highFront ^ flipBackslash) - one)) | front;
          const plainBack =
            (((highBack ^ flipQuote) - belowSpecial) & ((highBack ^ flipBackslash) - one)) | back;
          if ((plainFront & plainBack & highBits) !== highBits) break;
          wordIndex += 2;
        }
        continue;
      }
      position = (wordIndex << 2) + ((31 - Math.clz32(found & -found)) >> 3);
      const byte = position - lead;
      // Never reads past the end: one such read makes every later one of this loop slow.
      if (bytes[byte] !== 0x5c || byte >= last || escapes[bytes[byte + 1] as number] !== 1) return byte;
      position += 2;
      wordIndex = position >> 2;
      mask = highBits << ((position & 3) << 3);
    }
    // Behind the last whole word, or behind an escape that reaches over its end.
    return Math.max(position, wordCount << 2, from + lead) - lead;
  }

  /** The position after an escape, or -1 when not all of it is there. */
  #afterEscape(position: number, final: boolean): number {
    const bytes = this.#bytes;
    const escape = bytes[position + 1];
    if (escape === undefined && !final) return -1;
    if (simpleEscapes[escape ?? 0] === 1) return position + 2;
    if (escape !== letterU) throw unexpected(bytes, "a valid escape", position + 1);
    for (let digit = position + 2; digit < position + 6; digit += 1) {
      if (digit >= bytes.length && !final) return -1;
      if (!isHexDigit(bytes[digit] ?? 0)) throw unexpected(bytes, "four hexadecimal digits", digit);
    }
    return position + 6;
  }

  #pause(position: number): number {
    this.position = position;
    return -1;
  }
}

function isHexDigit(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
}
