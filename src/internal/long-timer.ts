import type { Timer } from "./clock.ts";

/** How exactly a long timer notes when it was started over. */
const tickMs = 500;

/** The time of the last tick: reading it costs nothing, while every other way to ask for the time is a native call. */
const ticks = { now: 0, users: 0, interval: undefined as NodeJS.Timeout | undefined };

/**
 * A timer of many seconds that is started over far more often than it fires, for every token of a stream.
 *
 * Starting it over only notes the time of the last tick; when its time seems over it waits for what is then left. So it
 * may be late by a tick; and early by as much as the turn of the event loop took in which it was started over last.
 */
export class LongTimer implements Timer {
  readonly #callback: () => void;
  readonly #delayMs: number;
  readonly #keepAlive: boolean;
  #handle: NodeJS.Timeout | undefined;
  /** When it was started over; undefined while it was not. */
  #startedAt: number | undefined;
  #cancelled = false;

  constructor(callback: () => void, delayMs: number, keepAlive: boolean) {
    this.#callback = callback;
    this.#delayMs = delayMs;
    this.#keepAlive = keepAlive;
    this.#start();
  }

  cancel(): void {
    this.#cancelled = true;
    this.#stop();
  }

  refresh(): void {
    if (this.#handle !== undefined) this.#startedAt = ticks.now;
    else if (!this.#cancelled) this.#start();
  }

  #start(): void {
    joinTicks();
    this.#wait(this.#delayMs);
  }

  #stop(): void {
    if (this.#handle === undefined) return;
    clearTimeout(this.#handle);
    this.#handle = undefined;
    this.#startedAt = undefined;
    ticks.users -= 1;
  }

  #wait(ms: number): void {
    this.#handle = setTimeout(() => this.#onTime(), ms);
    if (!this.#keepAlive) this.#handle.unref();
  }

  #onTime(): void {
    const startedAt = this.#startedAt;
    if (startedAt !== undefined) {
      this.#startedAt = undefined;
      this.#wait(Math.max(1, startedAt + tickMs + this.#delayMs - performance.now()));
      return;
    }
    this.#stop();
    this.#callback();
  }
}

/** The ticks run while there is a long timer, and no longer than one tick more: starting them has its price, too. */
function joinTicks(): void {
  ticks.users += 1;
  if (ticks.interval !== undefined) return;
  ticks.now = performance.now();
  ticks.interval = setInterval(tick, tickMs).unref();
}

function tick(): void {
  ticks.now = performance.now();
  if (ticks.users > 0) return;
  clearInterval(ticks.interval);
  ticks.interval = undefined;
}
