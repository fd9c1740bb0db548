import { BackPressureError } from "../errors/back-pressure-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock, Timer } from "../internal/clock.ts";

/** How many may wait, for how long, and what those beyond are told. */
export interface AdmissionQueueOptions {
  readonly deployment: string;
  /** Ray's `maxQueuedRequests`: -1 for no limit. */
  readonly maxQueuedRequests: number;
  /** 503 or 429, from `backpressureConfig.statusCode`. */
  readonly rejectStatus: number;
  /** From `backpressureConfig.retryAfterS`. */
  readonly retryAfterS: number | undefined;
  readonly clock: Clock;
}

/** What a waiting request wants and how long it will wait. */
export interface Waiting<T> {
  /** Lower goes first, as vLLM's `priority`. Equal ones go in order of arrival. */
  readonly priority: number;
  readonly cancel: CancelToken;
  readonly timeoutMs: number;
  /** The error of a wait that took too long. */
  readonly onTimeout: () => ServeLLMError;
  /** Tries to get what is wanted now; undefined to go on waiting. */
  readonly attempt: () => T | undefined;
  /** True when only some slots will do, so that others behind it may go first. */
  readonly picky: boolean;
}

interface Entry<T> {
  readonly waiting: Waiting<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
  timer: Timer | undefined;
  stopListening: (() => void) | undefined;
}

/**
 * Requests that wait for a slot, in order of priority and arrival. A freed slot goes to the first of them at once
 * (Ray, which polls with a backoff, can leave it idle for half a second).
 */
export class AdmissionQueue<T> {
  readonly #options: AdmissionQueueOptions;
  readonly #entries: Entry<T>[] = [];
  #picky = 0;

  constructor(options: AdmissionQueueOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#entries.length;
  }

  /** True when some of those that wait want particular slots, so that a free one may be there for somebody else. */
  get hasPicky(): boolean {
    return this.#picky > 0;
  }

  /** @throws BackPressureError when `maxQueuedRequests` are waiting already */
  wait(waiting: Waiting<T>): Promise<T> {
    const { maxQueuedRequests, clock } = this.#options;
    if (maxQueuedRequests >= 0 && this.#entries.length >= maxQueuedRequests) {
      throw new BackPressureError({
        deployment: this.#options.deployment,
        queued: this.#entries.length,
        maxQueuedRequests,
        status: this.#options.rejectStatus,
        retryAfterS: this.#options.retryAfterS,
      });
    }
    return new Promise<T>((resolve, reject) => {
      const entry: Entry<T> = { waiting, resolve, reject, timer: undefined, stopListening: undefined };
      this.#insert(entry);
      entry.timer = clock.setTimer(() => this.#fail(entry, waiting.onTimeout()), waiting.timeoutMs);
      entry.stopListening = waiting.cancel.onCancel((error) => this.#fail(entry, error));
    });
  }

  /** Something became free: lets as many go as can. */
  wake(): void {
    let index = 0;
    while (index < this.#entries.length) {
      const entry = this.#entries[index]!;
      let value: T | undefined;
      try {
        value = entry.waiting.attempt();
      } catch (error) {
        this.#fail(entry, error);
        continue;
      }
      if (value !== undefined) {
        this.#remove(entry);
        entry.resolve(value);
      } else if (entry.waiting.picky) {
        index += 1;
      } else {
        return;
      }
    }
  }

  /** Turns everybody away. */
  rejectAll(error: ServeLLMError): void {
    while (this.#entries.length > 0) this.#fail(this.#entries[0]!, error);
  }

  #insert(entry: Entry<T>): void {
    let index = this.#entries.length;
    while (index > 0 && this.#entries[index - 1]!.waiting.priority > entry.waiting.priority) index -= 1;
    this.#entries.splice(index, 0, entry);
    if (entry.waiting.picky) this.#picky += 1;
  }

  #fail(entry: Entry<T>, error: unknown): void {
    if (this.#remove(entry)) entry.reject(error);
  }

  #remove(entry: Entry<T>): boolean {
    const index = this.#entries.indexOf(entry);
    if (index < 0) return false;
    this.#entries.splice(index, 1);
    if (entry.waiting.picky) this.#picky -= 1;
    entry.timer?.cancel();
    entry.stopListening?.();
    return true;
  }
}
