import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import { EngineError } from "../errors/engine-error.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import { KvTransferError } from "../errors/kv-transfer-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import type { RetryBudget } from "./retry-budget.ts";

const firstPauseMs = 20;
const longestPauseMs = 500;

/**
 * How often one request may still be tried, and which replicas failed it already.
 *
 * Only asked before the client has a byte. An error that another replica would repeat (a 4xx) is never retried; a
 * 500 is retried once, so that a poisonous prompt does not tour the fleet.
 */
export class Attempts {
  readonly #budget: RetryBudget;
  readonly #random: Random;
  #left: number;
  #serverErrors = 0;
  #pauses = 0;
  /** Retries made so far. */
  count = 0;

  constructor(maxRetries: number, budget: RetryBudget, random: Random) {
    this.#left = maxRetries;
    this.#budget = budget;
    this.#random = random;
  }

  /** Decides on one failure; a yes is counted. `untried` tells whether another replica is left to try. */
  mayRetry(error: unknown, untried: boolean): boolean {
    if (!(error instanceof EngineError) || error instanceof KvTransferError) return false;
    if (error instanceof EngineResponseError) {
      if (error.isClientFault) return false;
      if (error.engineStatus === 500 && (this.#serverErrors += 1) > 1) return false;
    }
    // Nothing was sent and somebody else is there: going on is free, however many are down.
    const free = error instanceof EngineConnectionError && error.neverSent && untried;
    if (!free) {
      if (this.#left <= 0) return false;
      if (!(error instanceof EngineConnectionError) && !this.#budget.withdraw()) return false;
      this.#left -= 1;
    }
    this.count += 1;
    return true;
  }

  /** Waits a short, random, growing while, but not after a broken connection: another replica can take over at once. */
  async pause(error: unknown, clock: Clock, cancel: CancelToken): Promise<void> {
    if (error instanceof EngineConnectionError) return;
    const limit = Math.min(firstPauseMs * 2 ** this.#pauses, longestPauseMs);
    this.#pauses += 1;
    await new Promise<void>((resolve, reject) => {
      const timer = clock.setTimer(() => {
        stopListening();
        resolve();
      }, this.#random.next() * limit);
      const stopListening = cancel.onCancel((cancelled) => {
        timer.cancel();
        reject(cancelled);
      });
    });
  }
}
