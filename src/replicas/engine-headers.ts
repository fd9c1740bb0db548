/** Response headers, decoded on demand. */
export class EngineHeaders {
  readonly #raw: readonly Buffer[];

  /** @param raw names and values in turn */
  constructor(raw: readonly Buffer[]) {
    this.#raw = raw;
  }

  /** The value of the first header of this name (lower case), or undefined. */
  get(name: string): string | undefined {
    const raw = this.#raw;
    for (let index = 0; index + 1 < raw.length; index += 2) {
      if (isName(raw[index]!, name)) return raw[index + 1]!.toString("latin1");
    }
    return undefined;
  }
}

/** Without making a text of every name that is looked at. */
function isName(bytes: Uint8Array, name: string): boolean {
  if (bytes.length !== name.length) return false;
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = bytes[index] as number;
    const lower = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    if (lower !== name.charCodeAt(index)) return false;
  }
  return true;
}
