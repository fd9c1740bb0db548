/** How many retries a deployment may add to its traffic. */
export interface RetryBudgetOptions {
  /** Retries allowed for each request, over time. @default 0.1 */
  readonly share: number;
  /** Retries that may be saved up, and are there at the start. @default 10 */
  readonly reserve: number;
}

export const defaultRetryBudget: RetryBudgetOptions = { share: 0.1, reserve: 10 };

/** Shares add up with rounding errors: ten tenths are a little less than one. */
const wholeToken = 1 - 1e-9;

/**
 * Keeps retries a small share of traffic, so that failing engines are not also flooded.
 *
 * Only failures that cost an engine work (timeouts, 5xx) are charged. A connection that was refused or broke costs
 * none, and all requests of a killed replica fail that way at once.
 */
export class RetryBudget {
  readonly #options: RetryBudgetOptions;
  #tokens: number;

  constructor(options: RetryBudgetOptions) {
    this.#options = options;
    this.#tokens = options.reserve;
  }

  /** A new request came: it earns its share. */
  deposit(): void {
    this.#tokens = Math.min(this.#tokens + this.#options.share, this.#options.reserve);
  }

  /** Takes one retry, if there is one. */
  withdraw(): boolean {
    if (this.#tokens < wholeToken) return false;
    this.#tokens -= 1;
    return true;
  }
}
