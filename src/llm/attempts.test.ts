import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { FakeClock, seededRandom } from "../testing/index.ts";
import { Attempts, type AttemptsInit } from "./attempts.ts";
import { RetryBudget } from "./retry-budget.ts";

const origin = { phase: "decode", replica: "D#1" } as const;
const status = (code: number): EngineResponseError =>
  new EngineResponseError(origin, code, { message: "no", type: "x", param: null, code: null });
const broken = (neverSent: boolean): EngineConnectionError =>
  new EngineConnectionError(origin, { neverSent });

function attempts(init: Partial<AttemptsInit> = {}): {
  readonly attempts: Attempts;
  readonly clock: FakeClock;
} {
  const clock = new FakeClock();
  const made = new Attempts({
    maxRetries: 5,
    budget: new RetryBudget({ share: 0, reserve: 100 }),
    random: seededRandom(1),
    clock,
    deadlineMs: Number.POSITIVE_INFINITY,
    ...init,
  });
  return { attempts: made, clock };
}

/** Milliseconds of a pause, on a clock that stands still but for it. */
async function lengthOf(pause: Promise<void>, clock: FakeClock): Promise<number> {
  const from = clock.now();
  const due = clock.nextTimerMs;
  if (due !== undefined) clock.advance(due - from);
  await pause;
  return clock.now() - from;
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 });

describe("Attempts", () => {
  it("pauses for a random part of 20 ms, twice as long each time, at most 500 ms", async () => {
    await fc.assert(
      fc.asyncProperty(seeds, fc.integer({ min: 1, max: 9 }), async (seed, tries) => {
        const { attempts: one, clock } = attempts({ maxRetries: tries, random: seededRandom(seed) });
        const expected = seededRandom(seed);
        for (let index = 0; index < tries; index += 1) {
          expect(one.mayRetry(status(503), true)).toBe(true);
          const longest = Math.min(20 * 2 ** index, 500);
          const length = await lengthOf(one.pause(new CancelToken()), clock);
          expect(length).toBeLessThan(longest);
          expect(length).toBeCloseTo(expected.next() * longest, 6);
        }
        expect(one.mayRetry(status(503), true)).toBe(false);
      }),
    );
  });

  it("uses the whole range: pauses of many requests are spread, not alike", async () => {
    const random = seededRandom(11);
    const quarters = [0, 0, 0, 0];
    for (let count = 0; count < 400; count += 1) {
      const { attempts: one, clock } = attempts({ random });
      one.mayRetry(status(503), true);
      quarters[Math.floor((await lengthOf(one.pause(new CancelToken()), clock)) / 5)]! += 1;
    }
    for (const quarter of quarters) expect(quarter).toBeGreaterThan(60);
  });

  it("does not pause after a broken connection, and leaves no timer", async () => {
    const { attempts: one, clock } = attempts();
    expect(one.mayRetry(broken(false), true)).toBe(true);
    await one.pause(new CancelToken());
    expect([clock.now(), clock.pendingTimers]).toEqual([0, 0]);
  });

  it("ends a pause with the request, and leaves no timer", async () => {
    const { attempts: one, clock } = attempts();
    one.mayRetry(status(503), true);
    const cancel = new CancelToken();
    const pause = one.pause(cancel);
    const error = new RequestCancelledError("the client left");
    cancel.cancel(error);
    await expect(pause).rejects.toBe(error);
    expect(clock.pendingTimers).toBe(0);
  });

  it("makes no try that would begin after the deadline, and takes nothing from the budget for it", async () => {
    await fc.assert(
      fc.asyncProperty(
        seeds,
        fc.integer({ min: 1, max: 2_000 }),
        fc.array(fc.nat(400), { minLength: 1, maxLength: 8 }),
        async (seed, deadlineMs, durations) => {
          const clock = new FakeClock();
          const reserve = durations.length;
          const budget = new RetryBudget({ share: 0, reserve });
          const random = seededRandom(seed);
          const { attempts: one } = attempts({ maxRetries: reserve, budget, random, clock, deadlineMs });
          let made = 0;
          for (const duration of durations) {
            clock.advance(duration);
            if (!one.mayRetry(status(503), true)) {
              // The longest pause there can be now would end too late.
              expect(clock.now() + Math.min(20 * 2 ** made, 500)).toBeGreaterThan(deadlineMs);
              break;
            }
            made += 1;
            await lengthOf(one.pause(new CancelToken()), clock);
            expect(clock.now()).toBeLessThan(deadlineMs);
          }
          let left = 0;
          while (budget.withdraw()) left += 1;
          expect(left).toBe(reserve - made);
        },
      ),
    );
  });

  it("tries a broken connection elsewhere for nothing, but not when the time is over", () => {
    const budget = new RetryBudget({ share: 0, reserve: 0 });
    expect(attempts({ maxRetries: 0, budget }).attempts.mayRetry(broken(true), true)).toBe(true);
    expect(attempts({ maxRetries: 0, budget }).attempts.mayRetry(broken(true), false)).toBe(false);
    expect(attempts({ maxRetries: 1, budget }).attempts.mayRetry(broken(false), true)).toBe(true);
    expect(attempts({ deadlineMs: 0 }).attempts.mayRetry(broken(true), true)).toBe(false);
  });

  it("tries a 500 once, a 4xx never, and nothing that is no engine's failure", () => {
    const { attempts: one } = attempts();
    expect([status(400), status(422), new Error("x")].map((error) => one.mayRetry(error, true))).toEqual([
      false,
      false,
      false,
    ]);
    expect([500, 500].map((code) => one.mayRetry(status(code), true))).toEqual([true, false]);
  });
});
