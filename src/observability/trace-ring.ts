import type { RequestTrace } from "./request-trace.ts";

/**
 * The last requests that are over. What is older falls out.
 *
 * Every request is added and hardly one ever looked for: a search costs less than an index that is kept for all.
 */
export class TraceRing {
  readonly #traces: RequestTrace[] = [];
  readonly #capacity: number;
  #next = 0;

  /** @param capacity how many are kept; 0 keeps none */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  add(trace: RequestTrace): void {
    if (this.#capacity === 0) return;
    this.#traces[this.#next] = trace;
    this.#next += 1;
    if (this.#next === this.#capacity) this.#next = 0;
  }

  /** The latest request of that id: a client may have used it again. */
  get(requestId: string): RequestTrace | undefined {
    const traces = this.#traces;
    const { length } = traces;
    for (let age = 1; age <= length; age += 1) {
      const trace = traces[(this.#next - age + length) % length]!;
      if (trace.requestId === requestId) return trace;
    }
    return undefined;
  }

  /** Oldest first. */
  all(): readonly RequestTrace[] {
    const traces = this.#traces;
    if (traces.length < this.#capacity) return [...traces];
    return [...traces.slice(this.#next), ...traces.slice(0, this.#next)];
  }
}
