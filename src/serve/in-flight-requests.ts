import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";

/** The requests that an application is answering. */
export class InFlightRequests {
  readonly #tokens = new Set<CancelToken>();
  #onIdle: (() => void) | undefined;

  get size(): number {
    return this.#tokens.size;
  }

  /** Counts a request until its token ends. */
  add(cancel: CancelToken): void {
    this.#tokens.add(cancel);
    cancel.onEnd(() => {
      this.#tokens.delete(cancel);
      if (this.#tokens.size === 0) this.#onIdle?.();
    });
  }

  /** Cancels whatever still runs. */
  cancel(error: ServeLLMError): void {
    for (const token of this.#tokens) token.cancel(error);
  }

  /** Resolves when none is left, or `graceMs` are over. */
  async untilIdle(clock: Clock, graceMs: number): Promise<void> {
    if (this.#tokens.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = clock.setTimer(resolve, graceMs, { keepAlive: true });
      this.#onIdle = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}
