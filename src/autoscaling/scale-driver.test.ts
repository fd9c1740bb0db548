import { describe, expect, it } from "vitest";

import { FakeClock } from "../testing/fake-clock.ts";
import { ScaleDriver } from "./scale-driver.ts";

interface Call {
  readonly replicas: number;
  readonly signal: AbortSignal;
  readonly succeed: () => void;
  readonly fail: (reason: string) => void;
}

/** A driver whose target answers when the test says. */
function make() {
  const clock = new FakeClock();
  const calls: Call[] = [];
  const warnings: string[] = [];
  const driver = new ScaleDriver({
    deployment: "D",
    clock,
    warn: (message) => warnings.push(message),
    target: {
      setReplicas: (replicas, signal) =>
        new Promise<void>((resolve, reject) => {
          calls.push({ replicas, signal, succeed: resolve, fail: (reason) => reject(new Error(reason)) });
        }),
    },
  });
  return { clock, calls, warnings, driver, asked: () => calls.map(({ replicas }) => replicas) };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("ScaleDriver", () => {
  it("makes one call at a time, and then the newest number's", async () => {
    const { driver, calls, asked } = make();
    for (const replicas of [2, 3, 4]) driver.want(replicas);
    expect(asked()).toEqual([2]);
    calls[0]!.succeed();
    await settle();
    expect(asked()).toEqual([2, 4]);
    calls[1]!.succeed();
    await settle();
    driver.want(4);
    await settle();
    expect(asked()).toEqual([2, 4]);
  });

  it("calls nobody for a number that the target has already, or that is taken back while it starts", async () => {
    const { driver, calls, asked } = make();
    driver.assume(3);
    driver.want(3);
    await settle();
    expect(asked()).toEqual([]);
    driver.want(5);
    driver.want(3);
    calls[0]!.succeed();
    await settle();
    // The first call has been heard: the target has to hear of the way back, too.
    expect(asked()).toEqual([5, 3]);
  });

  it("tries again after a failure, with pauses from 1 to 30 seconds, and warns of the first", async () => {
    const { driver, clock, calls, warnings } = make();
    driver.want(2);
    for (const [index, seconds] of [1, 2, 4, 8, 16, 30, 30].entries()) {
      calls[index]!.fail("no quota");
      await settle();
      clock.advance(seconds * 1_000 - 1);
      await settle();
      expect(calls).toHaveLength(index + 1);
      clock.advance(1);
      await settle();
      expect(calls).toHaveLength(index + 2);
    }
    expect(warnings).toEqual(['The scaling target of "D" did not take 2 replicas: no quota']);
    calls.at(-1)!.succeed();
    await settle();
    expect(clock.pendingTimers).toBe(0);
    // A new trouble is told anew, and begins with a short pause.
    driver.want(3);
    calls.at(-1)!.fail("gone");
    await settle();
    expect(warnings).toHaveLength(2);
    expect(clock.nextTimerMs).toBe(clock.now() + 1_000);
    await driver.stop();
  });

  it("does not wait out a pause when another number is wanted", async () => {
    const { driver, clock, calls, asked } = make();
    driver.want(2);
    calls[0]!.fail("no quota");
    await settle();
    driver.want(1);
    await settle();
    expect(asked()).toEqual([2, 1]);
    expect(clock.pendingTimers).toBe(0);
    calls[1]!.succeed();
    await driver.stop();
  });

  it("aborts the call that is under way when it stops, and wants nothing after that", async () => {
    const { driver, calls, warnings, asked } = make();
    driver.want(2);
    let stopped = false;
    const stopping = driver.stop().then(() => (stopped = true));
    await settle();
    expect([calls[0]!.signal.aborted, stopped]).toEqual([true, false]);
    calls[0]!.fail("aborted");
    await stopping;
    driver.want(5);
    await settle();
    expect([asked(), warnings]).toEqual([[2], []]);
  });

  it("stops in a pause at once", async () => {
    const { driver, clock, calls } = make();
    driver.want(2);
    calls[0]!.fail("no quota");
    await settle();
    await driver.stop();
    expect([calls.length, clock.pendingTimers]).toEqual([1, 0]);
  });
});
