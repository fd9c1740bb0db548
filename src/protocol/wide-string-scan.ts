import { jsonStringScanWasm } from "./json-string-scan-wasm.ts";

/** As much of WebAssembly as is used here: its types come with a browser's, which this code does not have. */
interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
}

/** What json-string-scan.wat exports. */
interface ScanExports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly scan: (length: number) => number;
}

/** The first pieces are small, so that a string that ends soon costs no large copy. */
const smallestPiece = 1024;
/** Stays in the processor's nearest cache together with what it was copied from. */
const largestPiece = 16 * 1024;
/** The most that an escape may lack at the end of a piece. */
const longestEscape = 6;

let loaded: WideStringScan | undefined;
let tried = false;

/**
 * Scans long JSON strings many bytes at a time, with the SIMD instructions of WebAssembly (json-string-scan.wat says
 * how). It decides nothing: where anything but plain text and whole escapes begins, it stops.
 */
export class WideStringScan {
  readonly #scan: (length: number) => number;
  readonly #memory: Uint8Array;

  /** @param exports of the compiled module */
  constructor(exports: ScanExports) {
    this.#scan = exports.scan;
    this.#memory = new Uint8Array(exports.memory.buffer);
  }

  /**
   * Goes over plain text and escapes.
   *
   * @param from where a character or an escape begins
   * @param scanned how much of the string was scanned before: a guess at how long it still is
   * @returns the first byte that ends the string or is wrong, the start of an escape that is wrong or cut off by the
   *   end of `bytes`, or that end
   */
  skip(bytes: Uint8Array, from: number, scanned: number): number {
    const end = bytes.length;
    let position = from;
    let size = Math.min(Math.max(scanned, smallestPiece), largestPiece);
    for (;;) {
      const pieceEnd = Math.min(position + size, end);
      this.#memory.set(bytes.subarray(position, pieceEnd));
      position += this.#scan(pieceEnd - position);
      // Not all of an escape may be in this piece: the next one begins with it.
      if (pieceEnd === end || pieceEnd - position >= longestEscape) return position;
      size = Math.min(size * 2, largestPiece);
    }
  }
}

/** The scan for long strings, made when first asked for; undefined where there is no WebAssembly with SIMD. */
export function wideStringScan(): WideStringScan | undefined {
  if (!tried) {
    tried = true;
    loaded = load();
  }
  return loaded;
}

function load(): WideStringScan | undefined {
  const { WebAssembly } = globalThis as { readonly WebAssembly?: WebAssemblyApi };
  if (WebAssembly === undefined) return undefined;
  // Throws where SIMD is not known, where code must not be made from data, and where address space is short.
  try {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(moduleBytes()));
    return new WideStringScan(exports as ScanExports);
  } catch {
    return undefined;
  }
}

function moduleBytes(): Uint8Array {
  const characters = atob(jsonStringScanWasm);
  const bytes = new Uint8Array(characters.length);
  for (let index = 0; index < bytes.length; index += 1) bytes[index] = characters.charCodeAt(index);
  return bytes;
}
