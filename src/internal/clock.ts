import { LongTimer } from "./long-timer.ts";

/** A timer that can be stopped or started over. */
export interface Timer {
  /** Stops it. Safe to call more than once, and after it fired. */
  cancel(): void;
  /** Starts its time over, also after it fired. */
  refresh(): void;
}

/** Time, as this library sees it. Everything that waits or measures takes one, so that tests can own it. */
export interface Clock {
  /** Milliseconds from an arbitrary start; never goes back. */
  now(): number;
  /** Milliseconds since 1970, for people to read. */
  wallNow(): number;
  /** Calls `callback` once after `delayMs` milliseconds. Those of 30 s and more may be late by two seconds. */
  setTimer(callback: () => void, delayMs: number, options?: { readonly keepAlive?: boolean }): Timer;
}

/** From here on two seconds more are little. */
const longFromMs = 30_000;

/** One class with methods on its prototype: three closures a timer would be garbage for every request. */
class SystemTimer implements Timer {
  readonly #handle: NodeJS.Timeout;

  constructor(callback: () => void, delayMs: number, keepAlive: boolean) {
    this.#handle = setTimeout(callback, delayMs);
    if (!keepAlive) this.#handle.unref();
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }

  refresh(): void {
    this.#handle.refresh();
  }
}

/** The real time of this process. Its timers do not keep the process alive unless `keepAlive` is set. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  setTimer: (callback, delayMs, options) => {
    const keepAlive = options?.keepAlive === true;
    return delayMs < longFromMs || keepAlive
      ? new SystemTimer(callback, delayMs, keepAlive)
      : new LongTimer(callback, delayMs);
  },
};
