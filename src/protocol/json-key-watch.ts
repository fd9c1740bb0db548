import { jsonKeyAt } from "./json-keys.ts";

const noKeys: ReadonlySet<string> = new Set();
const encoder = new TextEncoder();

/** What scans look out for among the keys of a text, at any depth and however they are escaped. Made once for many scans. */
export class KeyWatch {
  /** The first one found is `JsonObjectIndex.forbiddenKey`. */
  readonly forbidden: ReadonlySet<string>;
  /** Those found are `JsonObjectIndex.notedKeys`. */
  readonly noted: ReadonlySet<string>;
  /** 1 where there is a key of that length and first byte: most keys of a text need not be read to be passed by. */
  readonly #marks = new Uint8Array(256);

  constructor(keys: {
    readonly forbidden?: ReadonlySet<string> | undefined;
    readonly noted?: ReadonlySet<string> | undefined;
  }) {
    this.forbidden = keys.forbidden ?? noKeys;
    this.noted = keys.noted ?? noKeys;
    for (const key of [...this.forbidden, ...this.noted]) {
      const bytes = encoder.encode(`"${key}"`);
      this.#marks[markOf(bytes, 0, bytes.length)] = 1;
    }
  }

  /** False when the key between these offsets, quotes included and without escapes, is certainly none of them. */
  mayBe(bytes: Uint8Array, start: number, end: number): boolean {
    return this.#marks[markOf(bytes, start, end)] === 1;
  }

  /** Tells `findings` of the key between these offsets, when it is one of them. */
  look(bytes: Uint8Array, start: number, end: number, findings: KeyFindings): void {
    const key = jsonKeyAt(bytes, start, end);
    if (this.forbidden.has(key)) findings.forbiddenKey ??= key;
    if (this.noted.has(key)) (findings.notedKeys ??= new Set()).add(key);
  }
}

/** What a scan found of the keys it looks out for. */
export interface KeyFindings {
  forbiddenKey: string | undefined;
  notedKeys: Set<string> | undefined;
}

function markOf(bytes: Uint8Array, start: number, end: number): number {
  return ((end - start) * 37 + (bytes[start + 1] as number)) & 0xff;
}
