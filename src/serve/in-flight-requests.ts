import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import { RingLink } from "../internal/ring.ts";

/** The requests that an application is answering. */
export class InFlightRequests {
  readonly #ring = new RingLink();
  #size = 0;
  #onIdle: (() => void) | undefined;

  get size(): number {
    return this.#size;
  }

  /** Counts a request until its token ends. */
  add(cancel: CancelToken): void {
    const link = new RequestLink(cancel);
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
    for (let link = this.#ring.next; link !== this.#ring; link = link.next)
      tokens.push((link as RequestLink).cancel);
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

/** One request of the ring. */
class RequestLink extends RingLink {
  readonly cancel: CancelToken;

  constructor(cancel: CancelToken) {
    super();
    this.cancel = cancel;
  }
}
