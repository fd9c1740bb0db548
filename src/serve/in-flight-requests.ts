import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";

/** The requests that an application is answering. */
export class InFlightRequests {
  /** A ring of links: a set would be rebuilt again and again, for its members come and go with every request. */
  readonly #ring = new Link(undefined);
  #size = 0;
  #onIdle: (() => void) | undefined;

  get size(): number {
    return this.#size;
  }

  /** Counts a request until its token ends. */
  add(cancel: CancelToken): void {
    const link = new Link(cancel);
    link.insertBefore(this.#ring);
    this.#size += 1;
    cancel.onEnd(() => {
      link.remove();
      this.#size -= 1;
      if (this.#size === 0) this.#onIdle?.();
    });
  }

  /** Cancels whatever still runs. */
  cancel(error: ServeLLMError): void {
    const tokens: CancelToken[] = [];
    for (let link = this.#ring.next; link.cancel !== undefined; link = link.next) tokens.push(link.cancel);
    for (const token of tokens) token.cancel(error);
  }

  /** Resolves when none is left, or `graceMs` are over. */
  async untilIdle(clock: Clock, graceMs: number): Promise<void> {
    if (this.#size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = clock.setTimer(resolve, graceMs, { keepAlive: true });
      this.#onIdle = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}

/** One request in the ring; the one without a token is where it begins and ends. */
class Link {
  readonly cancel: CancelToken | undefined;
  previous: Link = this;
  next: Link = this;

  constructor(cancel: CancelToken | undefined) {
    this.cancel = cancel;
  }

  insertBefore(next: Link): void {
    this.next = next;
    this.previous = next.previous;
    this.previous.next = this;
    next.previous = this;
  }

  remove(): void {
    this.previous.next = this.next;
    this.next.previous = this.previous;
  }
}
