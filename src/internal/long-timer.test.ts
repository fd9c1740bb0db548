import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { systemClock } from "./clock.ts";
import type { Timer } from "./clock.ts";

const minute = 60_000;
/** How late one may be. */
const late = 2000;
let fired = 0;

beforeEach(() => {
  vi.useFakeTimers();
  fired = 0;
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const longTimer = (onFire = (): void => void (fired += 1)): Timer => systemClock.setTimer(onFire, minute);

it.each([0, 1, 499, 500, 777])(
  "fires once, not early and hardly late, whenever it is set (%s ms)",
  (offset) => {
    const other = longTimer();
    vi.advanceTimersByTime(offset);
    other.cancel();
    longTimer();
    vi.advanceTimersByTime(minute - 1);
    expect(fired).toBe(0);
    vi.advanceTimersByTime(1 + late);
    expect(fired).toBe(1);
    vi.advanceTimersByTime(10 * minute);
    expect(fired).toBe(1);
  },
);

it("has its whole time again from when it was last started over", () => {
  const timer = longTimer();
  for (let second = 0; second < 200; second += 1) {
    vi.advanceTimersByTime(1000);
    timer.refresh();
  }
  vi.advanceTimersByTime(minute - 1);
  expect(fired).toBe(0);
  vi.advanceTimersByTime(1 + late);
  expect(fired).toBe(1);
});

it("starts over also after it fired", () => {
  const timer = longTimer();
  vi.advanceTimersByTime(minute + late);
  timer.refresh();
  vi.advanceTimersByTime(minute - 1);
  expect(fired).toBe(1);
  vi.advanceTimersByTime(1 + late);
  expect(fired).toBe(2);
});

it("may set and cancel others that are due with it", () => {
  const timers: Timer[] = [];
  const order: string[] = [];
  timers.push(
    longTimer(() => {
      order.push("first");
      timers[1]!.cancel();
      timers[2]!.refresh();
      timers.push(longTimer(() => order.push("new")));
    }),
    longTimer(() => order.push("cancelled")),
    longTimer(() => order.push("started over")),
  );
  vi.advanceTimersByTime(minute + late);
  expect(order).toEqual(["first"]);
  vi.advanceTimersByTime(minute + late);
  expect(order.toSorted()).toEqual(["first", "new", "started over"]);
});

it("fires when the event loop stood still over its time", () => {
  longTimer();
  vi.setSystemTime(Date.now() + 10 * minute);
  vi.advanceTimersByTime(10 * minute);
  expect(fired).toBe(1);
});

/** The event loop stands still for so long; the next turn of the wheel is late by it. */
function standStill(ms: number): void {
  const now = performance.now.bind(performance);
  vi.spyOn(performance, "now").mockImplementation(() => now() + ms);
}

it.each(["set anew", "started over"])("has its whole time when it is %s in a late turn", (how) => {
  const timer = longTimer(() => {
    fired += 1;
    if (how === "set anew") longTimer();
    else timer.refresh();
  });
  vi.advanceTimersByTime(1000);
  standStill(10 * minute);
  vi.advanceTimersByTime(minute - 1000);
  expect(fired).toBe(1);
  vi.advanceTimersByTime(1000 + late);
  expect(fired).toBe(2);
});

it("stays stopped, and leaves nothing that runs", () => {
  const timer = longTimer();
  longTimer().cancel();
  timer.refresh();
  timer.cancel();
  timer.cancel();
  timer.refresh();
  vi.advanceTimersByTime(1000);
  expect(vi.getTimerCount()).toBe(0);
  vi.advanceTimersByTime(2 * minute);
  expect(fired).toBe(0);
});
