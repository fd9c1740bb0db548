import type { JsonElement } from "./json-element.ts";

const encoder = new TextEncoder();

/**
 * JSON text kept exactly as it came.
 *
 * `kv_transfer_params`, seeds and block hashes hold 64-bit integers that a trip through JavaScript numbers would
 * change, so what is only passed on is never parsed.
 */
export class RawJson {
  readonly #text: Uint8Array;
  #element: JsonElement | undefined;
  #value: unknown;
  #parsed = false;

  /**
   * @param bytes UTF-8 of one complete JSON value.
   * @param element the same value, if it was found by a scan
   */
  constructor(bytes: Uint8Array, element?: JsonElement) {
    this.#text = bytes;
    this.#element = element;
  }

  static fromText(text: string): RawJson {
    return new RawJson(encoder.encode(text));
  }

  /** @internal The same, to look into without parsing it; there when it was found within a text that was scanned. */
  get element(): JsonElement | undefined {
    return this.#element;
  }

  /** @internal Keeps the text only: an element holds on to all that was found in it, and around it. */
  forgetElement(): void {
    this.#element = undefined;
  }

  /** UTF-8 of the value. Not a copy: do not change it. */
  get bytes(): Uint8Array {
    return this.#text;
  }

  /** The value as JavaScript sees it; integers beyond 2^53 lose precision here, never in {@link bytes}. */
  get value(): unknown {
    if (!this.#parsed) {
      this.#value = JSON.parse(this.toString());
      this.#parsed = true;
    }
    return this.#value;
  }

  toString(): string {
    const { buffer, byteOffset, byteLength } = this.#text;
    return Buffer.from(buffer, byteOffset, byteLength).toString();
  }
}
