import type { Timer } from "./clock.ts";
import { RingLink } from "./ring.ts";

/** How exactly long timers keep their time. */
const tickMs = 500;

/** What all long timers hang on; turns while there are any, and no longer than one tick more. */
const wheel = {
  /** Number of the last tick. Reading it costs nothing, while every other way to ask for the time is a native call. */
  tick: 0,
  timers: 0,
  interval: undefined as NodeJS.Timeout | undefined,
  /** Rings of timers, by the tick in which they are due. */
  due: new Map<number, RingLink>(),
};

/**
 * A timer of many seconds: every request has several, which are started over for every token and hardly ever fire.
 *
 * Setting one links it in among those that are due together; starting it over notes the number of the last tick, and when
 * it comes up it moves on by what is then left. So it may be late by two seconds; and early by as much as the turn of the
 * event loop took in which it was started over last. It does not keep the process alive.
 */
export class LongTimer extends RingLink implements Timer {
  readonly #callback: () => void;
  readonly #ticks: number;
  /** The tick in which it was started, or started over. */
  #startedAt = 0;
  #isSet = false;
  #cancelled = false;

  constructor(callback: () => void, delayMs: number) {
    super();
    this.#callback = callback;
    this.#ticks = Math.ceil(delayMs / tickMs);
    this.#start();
  }

  cancel(): void {
    this.#cancelled = true;
    if (!this.#isSet) return;
    this.remove();
    this.#unset();
  }

  refresh(): void {
    if (!this.#isSet && !this.#cancelled) this.#start();
    // The next tick may be about to come.
    else if (wheel.tick >= this.#startedAt) this.#startedAt = wheel.tick + 1;
  }

  /** @internal The tick has come in which it seemed due; it is in no ring. */
  onTick(tick: number): void {
    if (this.#dueAt() > tick) {
      this.#hang();
      return;
    }
    this.#unset();
    this.#callback();
  }

  /** It was started somewhere within a tick, so that its whole time is over one tick later. */
  #dueAt(): number {
    return this.#startedAt + this.#ticks + 1;
  }

  #start(): void {
    startWheel();
    wheel.timers += 1;
    this.#isSet = true;
    this.#startedAt = currentTick();
    this.#hang();
  }

  #hang(): void {
    const dueAt = this.#dueAt();
    let ring = wheel.due.get(dueAt);
    if (ring === undefined) {
      ring = new RingLink();
      wheel.due.set(dueAt, ring);
    }
    this.insertBefore(ring);
  }

  #unset(): void {
    this.#isSet = false;
    wheel.timers -= 1;
  }
}

function currentTick(): number {
  return Math.floor(performance.now() / tickMs);
}

function startWheel(): void {
  if (wheel.interval !== undefined) return;
  wheel.tick = currentTick();
  wheel.interval = setInterval(turn, tickMs).unref();
}

function turn(): void {
  const last = wheel.tick;
  // First, so that what a callback starts over does not count from the past that is being made up for.
  wheel.tick = currentTick();
  for (let tick = last + 1; tick <= wheel.tick; tick += 1) {
    const ring = wheel.due.get(tick);
    if (ring === undefined) continue;
    wheel.due.delete(tick);
    // Whatever a callback does to the others of the ring, the first is the next.
    while (ring.next !== ring) {
      const timer = ring.next as LongTimer;
      timer.remove();
      timer.onTick(tick);
    }
  }
  if (wheel.timers > 0) return;
  clearInterval(wheel.interval);
  wheel.interval = undefined;
  wheel.due.clear();
}
