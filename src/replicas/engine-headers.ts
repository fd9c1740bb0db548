/** Response headers, decoded on demand. */
export class EngineHeaders {
  readonly #raw: readonly (Buffer | string)[];

  constructor(raw: readonly (Buffer | string)[]) {
    this.#raw = raw;
  }

  /** The value of the first header of this name (lower case), or undefined. */
  get(name: string): string | undefined {
    const raw = this.#raw;
    for (let index = 0; index + 1 < raw.length; index += 2) {
      const candidate = raw[index]!;
      if (candidate.length === name.length && candidate.toString().toLowerCase() === name) {
        return raw[index + 1]!.toString();
      }
    }
    return undefined;
  }
}
