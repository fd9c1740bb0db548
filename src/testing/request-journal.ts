import type { IncomingHttpHeaders } from "node:http";

import type { Fault, MockPhase } from "./fault-plan.ts";

/** What an engine remembers of one request. Times are the engine clock's `now()`, milliseconds. */
export interface JournalEntry {
  readonly method: string;
  /** Path without the query. */
  readonly path: string;
  readonly query: string;
  readonly headers: IncomingHttpHeaders;
  /** Number of the connection it came over; equal numbers mean the connection was reused. */
  readonly connection: number;
  readonly arrivedAt: number;
  /** The body as it came; empty until it was read. */
  bodyText: string;
  /** The body, parsed; undefined when it is not JSON. */
  body: unknown;
  /** Part it plays in prefill/decode; undefined for requests that generate nothing. */
  phase: MockPhase | undefined;
  /** Status answered; undefined while, or when, there was none. */
  status: number | undefined;
  /** When the answer was complete. */
  finishedAt: number | undefined;
  /** When the client left before the answer was complete. */
  abortedAt: number | undefined;
  /** Bytes of the answer's body that were written. */
  bytes: number;
  /** Tokens delivered so far, of the first choice. */
  tokens: number;
  /** The fault that struck it. */
  fault: Fault["kind"] | undefined;
}

/** The requests of one engine, oldest first, and a way to wait until none is in progress. */
export class RequestJournal {
  readonly #limit: number;
  readonly #entries: JournalEntry[] = [];
  #idleWaiters: (() => void)[] = [];
  #receivedWaiters: { readonly count: number; readonly resolve: () => void }[] = [];
  #inProgress = 0;
  #received = 0;

  /** @param limit how many entries to keep at least; the oldest go first */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get entries(): readonly JournalEntry[] {
    return this.#entries;
  }

  get inProgress(): number {
    return this.#inProgress;
  }

  /** A request came in. */
  open(entry: JournalEntry): void {
    this.#inProgress++;
    this.#entries.push(entry);
    if (this.#entries.length > this.#limit * 2) this.#entries.splice(0, this.#entries.length - this.#limit);
  }

  /** A request was read to its end, and the engine began with it. */
  markReceived(): void {
    this.#received++;
    if (this.#receivedWaiters.length === 0) return;
    const ready = this.#receivedWaiters.filter((waiter) => waiter.count <= this.#received);
    this.#receivedWaiters = this.#receivedWaiters.filter((waiter) => waiter.count > this.#received);
    for (const waiter of ready) waiter.resolve();
  }

  /** Resolves when so many requests were received since the engine was made. */
  async received(count: number): Promise<void> {
    if (this.#received >= count) return;
    await new Promise<void>((resolve) => this.#receivedWaiters.push({ count, resolve }));
  }

  /** A request is over, however it ended. Call once for each {@link open}. */
  close(): void {
    this.#inProgress--;
    if (this.#inProgress > 0) return;
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const resolve of waiters) resolve();
  }

  /** Resolves when no request is in progress. */
  async idle(): Promise<void> {
    if (this.#inProgress === 0) return;
    await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  clear(): void {
    this.#entries.length = 0;
  }
}
