import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import { EngineError } from "../errors/engine-error.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import { KvTransferError } from "../errors/kv-transfer-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import { pauseUnlessCancelled } from "../internal/pause.ts";
import type { Random } from "../internal/random.ts";
import type { RetryBudget } from "./retry-budget.ts";

const firstPauseMs = 20;
const longestPauseMs = 500;

/** What {@link Attempts} go by. */
export interface AttemptsInit {
  /** Tries beyond the first, 0 or more. */
  readonly maxRetries: number;
  readonly budget: RetryBudget;
  readonly random: Random;
  readonly clock: Clock;
  /** When the request's whole time is over, on `clock`. */
  readonly deadlineMs: number;
}

/**
 * How often one request may still be tried.
 *
 * Only asked before the client has a byte. An error that another replica would repeat (a 4xx) is never retried; a
 * 500 is retried once, so that a poisonous prompt does not tour the fleet. A try that could only begin when the
 * request's whole time is over is not made: the failure at hand says more than a timeout.
 */
export class Attempts {
  readonly #budget: RetryBudget;
  readonly #random: Random;
  readonly #clock: Clock;
  readonly #deadlineMs: number;
  #left: number;
  #serverErrors = 0;
  #pauses = 0;
  /** Before the next try, milliseconds. */
  #pauseMs = 0;
  /** Retries made so far. */
  count = 0;

  constructor(init: AttemptsInit) {
    this.#left = init.maxRetries;
    this.#budget = init.budget;
    this.#random = init.random;
    this.#clock = init.clock;
    this.#deadlineMs = init.deadlineMs;
  }

  /** Decides on one failure; a yes is counted. `untried` tells whether another replica is left to try. */
  mayRetry(error: unknown, untried: boolean): boolean {
    if (!(error instanceof EngineError) || error instanceof KvTransferError) return false;
    if (error instanceof EngineResponseError) {
      if (error.isClientFault) return false;
      if (error.engineStatus === 500 && (this.#serverErrors += 1) > 1) return false;
    }
    const pauseMs = this.#nextPause(error);
    if (this.#clock.now() + pauseMs >= this.#deadlineMs) return false;
    // Nothing was sent and somebody else is there: going on is free, however many are down.
    const free = error instanceof EngineConnectionError && error.neverSent && untried;
    if (!free) {
      if (this.#left <= 0) return false;
      if (!(error instanceof EngineConnectionError) && !this.#budget.withdraw()) return false;
      this.#left -= 1;
    }
    this.count += 1;
    this.#pauseMs = pauseMs;
    return true;
  }

  /** Waits before the try that {@link mayRetry} allowed. Rejects with the token's error. */
  async pause(cancel: CancelToken): Promise<void> {
    if (this.#pauseMs === 0) return;
    await pauseUnlessCancelled(this.#clock, this.#pauseMs, cancel);
  }

  /** A short, random while that may grow; none after a broken connection: another replica can take over at once. */
  #nextPause(error: EngineError): number {
    if (error instanceof EngineConnectionError) return 0;
    const limit = Math.min(firstPauseMs * 2 ** this.#pauses, longestPauseMs);
    this.#pauses += 1;
    return this.#random.next() * limit;
  }
}
