import { hashTokens } from "./mock-tokenizer.ts";

/** Which full blocks of prompts an engine has computed before: vLLM's automatic prefix caching, without the KV. */
export class PrefixCache {
  readonly #blockSize: number;
  readonly #capacity: number;
  /** Hashes of prompts cut at block boundaries, the longest unused first. */
  readonly #blocks = new Set<string>();

  /** @param capacity blocks it keeps */
  constructor(blockSize: number, capacity: number) {
    this.#blockSize = blockSize;
    this.#capacity = capacity;
  }

  /**
   * Looks a prompt up, and keeps it.
   *
   * @param salt what else the blocks depend on, for example an adapter
   * @returns tokens that need not be computed; never all of them, since the last one gives the first new token
   */
  take(prompt: readonly number[], salt: string): number {
    let cached = 0;
    let missed = false;
    for (let end = this.#blockSize; end <= prompt.length; end += this.#blockSize) {
      const key = `${salt} ${end} ${hashTokens(prompt.slice(0, end), 0)}`;
      missed ||= !this.#blocks.delete(key);
      if (!missed && end < prompt.length) cached = end;
      this.#blocks.add(key);
    }
    for (const oldest of this.#blocks) {
      if (this.#blocks.size <= this.#capacity) break;
      this.#blocks.delete(oldest);
    }
    return cached;
  }

  clear(): void {
    this.#blocks.clear();
  }
}
