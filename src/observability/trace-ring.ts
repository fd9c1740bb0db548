import type { RequestTrace } from "./request-trace.ts";

/** The last requests that are over, by id. What is older falls out. */
export class TraceRing {
  readonly #traces: (RequestTrace | undefined)[] = [];
  readonly #byId = new Map<string, RequestTrace>();
  readonly #capacity: number;
  #next = 0;

  /** @param capacity how many are kept; 0 keeps none */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  add(trace: RequestTrace): void {
    if (this.#capacity === 0) return;
    const oldest = this.#traces[this.#next];
    // An id that a client used again belongs to the later request.
    if (oldest !== undefined && this.#byId.get(oldest.requestId) === oldest)
      this.#byId.delete(oldest.requestId);
    this.#traces[this.#next] = trace;
    this.#byId.set(trace.requestId, trace);
    this.#next = (this.#next + 1) % this.#capacity;
  }

  get(requestId: string): RequestTrace | undefined {
    return this.#byId.get(requestId);
  }

  /** Oldest first. */
  all(): readonly RequestTrace[] {
    const { length } = this.#traces;
    const start = length < this.#capacity ? 0 : this.#next;
    return Array.from({ length }, (_, index) => this.#traces[(start + index) % length]!);
  }
}
