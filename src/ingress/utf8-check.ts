import { isUtf8 } from "node:buffer";

/** Checks that a text is UTF-8 as its bytes arrive, while they are still in the processor's cache. */
export class Utf8Check {
  #checked = 0;
  #valid = true;

  /** @param bytes the text so far, from its start: at least what came before */
  advance(bytes: Uint8Array): void {
    const end = endOfLastCharacter(bytes);
    // Cut within a character, even the bytes before may not be a text yet.
    if (!this.#valid || end <= this.#checked) return;
    this.#valid = isUtf8(bytes.subarray(this.#checked, end));
    this.#checked = end;
  }

  /** @param bytes the whole text @returns whether all of it is UTF-8 */
  finish(bytes: Uint8Array): boolean {
    return this.#valid && isUtf8(this.#checked === 0 ? bytes : bytes.subarray(this.#checked));
  }
}

/** Without the first bytes of a character whose others are yet to come. */
function endOfLastCharacter(bytes: Uint8Array): number {
  const { length } = bytes;
  for (let back = 1; back <= 3 && back <= length; back += 1) {
    const byte = bytes[length - back] as number;
    if (byte < 0x80) return length;
    if (byte >= 0xc0) return back < lengthByLead(byte) ? length - back : length;
  }
  return length;
}

function lengthByLead(byte: number): number {
  if (byte < 0xe0) return 2;
  return byte < 0xf0 ? 3 : 4;
}
