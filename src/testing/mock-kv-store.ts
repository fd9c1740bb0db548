/**
 * KV that several engines keep in one place (LMCache, offloading, a shared folder), by prompt: give the same store to
 * all of them as `kvStore`.
 */
export class MockKvStore {
  readonly #prompts = new Set<string>();
  /** Prompts whose KV was found here, so that it was not computed again. */
  hits = 0;
  /** Prompts that were looked for in vain. */
  misses = 0;

  /** Prompts whose KV is here. */
  get size(): number {
    return this.#prompts.size;
  }

  /** @internal Looks for the KV of a prompt. */
  take(fingerprint: string): boolean {
    const found = this.#prompts.has(fingerprint);
    if (found) this.hits += 1;
    else this.misses += 1;
    return found;
  }

  /** @internal Keeps the KV of a prompt. */
  keep(fingerprint: string): void {
    this.#prompts.add(fingerprint);
  }

  clear(): void {
    this.#prompts.clear();
  }
}
