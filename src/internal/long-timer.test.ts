import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { systemClock } from "./clock.ts";
import type { Timer } from "./clock.ts";

const minute = 60_000;
let fired = 0;

beforeEach(() => {
  vi.useFakeTimers();
  fired = 0;
});
afterEach(() => {
  vi.useRealTimers();
});

const longTimer = (): Timer => systemClock.setTimer(() => (fired += 1), minute);

it("fires once, on time, when it was never started over", () => {
  longTimer();
  vi.advanceTimersByTime(minute - 1);
  expect(fired).toBe(0);
  vi.advanceTimersByTime(1);
  expect(fired).toBe(1);
  vi.advanceTimersByTime(10 * minute);
  expect(fired).toBe(1);
});

it("has its whole time again from when it was last started over, and no more than a tick beyond it", () => {
  const timer = longTimer();
  for (let second = 0; second < 200; second += 1) {
    vi.advanceTimersByTime(1000);
    timer.refresh();
  }
  vi.advanceTimersByTime(minute - 1);
  expect(fired).toBe(0);
  vi.advanceTimersByTime(501);
  expect(fired).toBe(1);
});

it("starts over also after it fired", () => {
  const timer = longTimer();
  vi.advanceTimersByTime(minute);
  timer.refresh();
  vi.advanceTimersByTime(minute - 1);
  expect(fired).toBe(1);
  vi.advanceTimersByTime(1);
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
