import type { Clock, Timer } from "../internal/clock.ts";

interface PendingTimer {
  readonly callback: () => void;
  readonly delayMs: number;
  /** Ties at the same instant fire in the order they were set. */
  order: number;
  dueMs: number;
}

/** What a {@link FakeClock} starts from. */
export interface FakeClockOptions {
  /** First value of `now()`, milliseconds. @default 0 */
  readonly nowMs?: number | undefined;
  /** First value of `wallNow()`, milliseconds since 1970. @default 1_786_700_000_000 */
  readonly wallMs?: number | undefined;
}

/**
 * A clock that only moves when told to. Timers fire in the order they are due; those due at the same instant in
 * the order they were set. Mock engines and the library take it wherever they take a clock.
 */
export class FakeClock implements Clock {
  readonly #pending = new Set<PendingTimer>();
  readonly #wallOffsetMs: number;
  #waiters: { readonly count: number; readonly resolve: () => void }[] = [];
  #nowMs: number;
  #order = 0;

  constructor(options: FakeClockOptions = {}) {
    this.#nowMs = options.nowMs ?? 0;
    this.#wallOffsetMs = (options.wallMs ?? 1_786_700_000_000) - this.#nowMs;
  }

  now(): number {
    return this.#nowMs;
  }

  wallNow(): number {
    return this.#nowMs + this.#wallOffsetMs;
  }

  /** Timers that are set and did not fire yet. Zero at the end of a test means nothing was leaked. */
  get pendingTimers(): number {
    return this.#pending.size;
  }

  /** When the next timer is due, in the terms of `now()`; undefined when none is set. */
  get nextTimerMs(): number | undefined {
    return this.#next()?.dueMs;
  }

  setTimer(callback: () => void, delayMs: number): Timer {
    const timer: PendingTimer = { callback, delayMs: Math.max(0, delayMs), order: 0, dueMs: 0 };
    this.#schedule(timer);
    return {
      cancel: () => {
        this.#pending.delete(timer);
      },
      refresh: () => {
        this.#schedule(timer);
      },
    };
  }

  /**
   * Moves time forward and fires what becomes due, also timers set by those that fire.
   *
   * @param ms milliseconds, 0 or more
   * @throws RangeError when `ms` is negative or not a number
   */
  advance(ms: number): void {
    if (!(ms >= 0)) throw new RangeError(`FakeClock.advance: expected milliseconds >= 0, got ${ms}`);
    const untilMs = this.#nowMs + ms;
    for (let next = this.#next(); next !== undefined && next.dueMs <= untilMs; next = this.#next()) {
      this.#pending.delete(next);
      this.#nowMs = next.dueMs;
      next.callback();
    }
    this.#nowMs = untilMs;
  }

  /**
   * Resolves when so many timers are set, so that a test can wait for code to begin waiting before it moves time.
   *
   * @param count 1 or more
   */
  async waitForTimers(count: number): Promise<void> {
    if (this.#pending.size >= count) return;
    await new Promise<void>((resolve) => this.#waiters.push({ count, resolve }));
  }

  #schedule(timer: PendingTimer): void {
    timer.dueMs = this.#nowMs + timer.delayMs;
    timer.order = this.#order++;
    this.#pending.add(timer);
    const ready = this.#waiters.filter((waiter) => this.#pending.size >= waiter.count);
    if (ready.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => !ready.includes(waiter));
    for (const waiter of ready) waiter.resolve();
  }

  #next(): PendingTimer | undefined {
    let first: PendingTimer | undefined;
    for (const timer of this.#pending) {
      if (
        first === undefined ||
        timer.dueMs < first.dueMs ||
        (timer.dueMs === first.dueMs && timer.order < first.order)
      ) {
        first = timer;
      }
    }
    return first;
  }
}
