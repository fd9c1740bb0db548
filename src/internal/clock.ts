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
  /** Calls `callback` once after `delayMs` milliseconds. */
  setTimer(callback: () => void, delayMs: number, options?: { readonly keepAlive?: boolean }): Timer;
}

/** The real time of this process. Its timers do not keep the process alive unless `keepAlive` is set. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  setTimer(callback, delayMs, options) {
    const handle = setTimeout(callback, delayMs);
    if (options?.keepAlive !== true) handle.unref();
    return {
      cancel: () => clearTimeout(handle),
      refresh: () => {
        handle.refresh();
      },
    };
  },
};
