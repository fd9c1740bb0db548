/**
 * The newest list of something, for one reader at a time: who is slow misses what was overtaken, never the last one.
 */
export class SnapshotStream<T> {
  #latest: T | undefined;
  #error: Error | undefined;
  #version = 0;
  readonly #waiting = new Set<() => void>();

  push(snapshot: T): void {
    this.#latest = snapshot;
    this.#version += 1;
    this.#wake();
  }

  /** Ends every reader with this error. */
  fail(error: Error): void {
    this.#error = error;
    this.#wake();
  }

  /** Snapshots from the latest on, until the signal aborts. */
  async *read(signal: AbortSignal): AsyncGenerator<T, void, undefined> {
    let seen = 0;
    while (!signal.aborted) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#version > seen) {
        seen = this.#version;
        yield this.#latest as T;
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
