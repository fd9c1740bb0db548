/**
 * The newest list of something, for one reader at a time: who is slow misses what was overtaken, never the last one.
 */
export class SnapshotStream<T> {
  #latest: { readonly value: T } | undefined;
  #error: Error | undefined;
  readonly #waiting = new Set<() => void>();

  push(snapshot: T): void {
    this.#latest = { value: snapshot };
    this.#wake();
  }

  /** Ends every reader with this error. */
  fail(error: Error): void {
    this.#error = error;
    this.#wake();
  }

  /** Snapshots from the latest on, until the signal aborts. */
  async *read(signal: AbortSignal): AsyncGenerator<T, void, undefined> {
    let seen: { readonly value: T } | undefined;
    while (!signal.aborted) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#latest !== undefined && this.#latest !== seen) {
        seen = this.#latest;
        yield seen.value;
      } else {
        await this.#change(signal);
      }
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", done, { once: true });
    });
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}
