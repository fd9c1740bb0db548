import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { BackPressureError } from "../errors/back-pressure-error.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { ServeLLMError } from "../errors/serve-llm-error.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { AdmissionQueue, type Waiting } from "./admission-queue.ts";

const tooLate = new ServeLLMError("Too late.", {
  code: "queue_timeout",
  status: 503,
  type: "unavailable_error",
});

/** A queue in front of so many slots, and the log of who got one or was turned away. */
function setUp(options: { maxQueuedRequests?: number; free?: number } = {}) {
  const clock = new FakeClock();
  const queue = new AdmissionQueue<string>({
    deployment: "D",
    maxQueuedRequests: options.maxQueuedRequests ?? -1,
    rejectStatus: 429,
    retryAfterS: 7,
    clock,
  });
  const state = { free: options.free ?? 0 };
  const log: string[] = [];
  const wait = (name: string, more: Partial<Waiting<string>> = {}): Promise<void> =>
    queue
      .wait({
        priority: 0,
        cancel: new CancelToken(),
        timeoutMs: 1000,
        onTimeout: () => tooLate,
        attempt: () => {
          if (state.free === 0) return undefined;
          state.free -= 1;
          return name;
        },
        picky: false,
        ...more,
      })
      .then(
        (value) => void log.push(value),
        (error: ServeLLMError) => void log.push(`${name}: ${error.code}`),
      );
  const release = (): void => {
    state.free += 1;
    queue.wake();
  };
  return { clock, queue, state, log, wait, release };
}

describe("the order", () => {
  it("is that of priority, then of arrival", async () => {
    const { wait, release, log, clock } = setUp();
    const waits = [
      wait("c", { priority: 1 }),
      wait("a"),
      wait("d", { priority: 1 }),
      wait("first", { priority: -5 }),
      wait("b"),
    ];
    for (let time = 0; time < 5; time++) release();
    await Promise.all(waits);
    expect(log).toEqual(["first", "a", "b", "c", "d"]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("lets as many go at once as there are slots", async () => {
    const { queue, state, wait, log } = setUp();
    const waits = ["a", "b", "c"].map((name) => wait(name));
    state.free = 2;
    queue.wake();
    expect(queue.length).toBe(1);
    queue.rejectAll(tooLate);
    await Promise.all(waits);
    expect(log).toEqual(["a", "b", "c: queue_timeout"]);
  });

  it("is kept back by the first, unless that one is picky", async () => {
    const { queue, wait, release, log } = setUp();
    const picky = wait("picky", { picky: true, attempt: () => undefined });
    expect(queue.hasPicky).toBe(true);
    const plain = wait("plain");
    release();
    await plain;
    expect(log).toEqual(["plain"]);
    queue.rejectAll(tooLate);
    await picky;
    expect(queue.hasPicky).toBe(false);
  });
});

describe("a waiter goes away", () => {
  it("when its time is over", async () => {
    const { clock, queue, wait, release, log, state } = setUp();
    const waits = [wait("a", { timeoutMs: 500 }), wait("b")];
    clock.advance(500);
    expect(queue.length).toBe(1);
    release();
    await Promise.all(waits);
    expect(log).toEqual(["a: queue_timeout", "b"]);
    expect(state.free).toBe(0);
  });

  it("when it is cancelled, also before it began to wait", async () => {
    const { clock, queue, wait, log } = setUp();
    const cancel = new CancelToken();
    const waiting = wait("a", { cancel });
    cancel.cancel(new RequestCancelledError("gone"));
    expect(queue.length).toBe(0);
    await waiting;
    await wait("b", { cancel });
    expect(log).toEqual(["a: client_closed_request", "b: client_closed_request"]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("alone, when its attempt throws", async () => {
    const { wait, release, log } = setUp();
    const attempt = (): never => {
      throw tooLate;
    };
    const waits = [wait("a", { attempt }), wait("b")];
    release();
    await Promise.all(waits);
    expect(log).toEqual(["a: queue_timeout", "b"]);
  });
});

describe("maxQueuedRequests", () => {
  it("is the number that may wait; those beyond are told when to come back", async () => {
    const { queue, wait, log } = setUp({ maxQueuedRequests: 2 });
    const waits = [wait("a"), wait("b")];
    let refused: unknown;
    try {
      void wait("c");
    } catch (error) {
      refused = error;
    }
    expect(refused).toBeInstanceOf(BackPressureError);
    expect(refused).toMatchObject({ status: 429, retryAfterS: 7, code: "queue_full" });
    expect(queue.length).toBe(2);
    queue.rejectAll(tooLate);
    waits.push(wait("d"));
    queue.rejectAll(tooLate);
    await Promise.all(waits);
    expect(log).toHaveLength(3);
  });

  it("of -1 is no limit", () => {
    const { queue, wait } = setUp();
    for (let number = 0; number < 5000; number++) void wait(String(number));
    expect(queue.length).toBe(5000);
    queue.rejectAll(tooLate);
    expect(queue.length).toBe(0);
  });
});

type Step =
  | { readonly kind: "wait"; readonly priority: number; readonly timeoutMs: number }
  | { readonly kind: "cancel"; readonly which: number }
  | { readonly kind: "release" }
  | { readonly kind: "advance"; readonly ms: number };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("wait" as const),
    priority: fc.integer({ min: -2, max: 2 }),
    timeoutMs: fc.integer({ min: 1, max: 300 }),
  }),
  fc.record({ kind: fc.constant("cancel" as const), which: fc.nat(100) }),
  fc.constant({ kind: "release" as const }),
  fc.record({ kind: fc.constant("advance" as const), ms: fc.nat(100) }),
);

it("settles everybody exactly once, in order, and loses no slot", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { maxLength: 100 }), async (steps) => {
      const { clock, queue, state, log, wait, release } = setUp();
      /** Who should be waiting, by the simplest model. */
      let expected: { name: string; priority: number; untilMs: number; token: CancelToken }[] = [];
      const expectedLog: string[] = [];
      const waits: Promise<void>[] = [];
      let released = 0;
      for (const [number, step] of steps.entries()) {
        if (step.kind === "wait") {
          const name = `r${number}`;
          const token = new CancelToken();
          waits.push(wait(name, { priority: step.priority, timeoutMs: step.timeoutMs, cancel: token }));
          expected.push({ name, priority: step.priority, untilMs: clock.now() + step.timeoutMs, token });
          queue.wake();
        } else if (step.kind === "cancel" && expected.length > 0) {
          const [gone] = expected.splice(step.which % expected.length, 1);
          expectedLog.push(`${gone!.name}: client_closed_request`);
          gone!.token.cancel(new RequestCancelledError("gone"));
        } else if (step.kind === "release") {
          released += 1;
          release();
        } else if (step.kind === "advance") {
          clock.advance(step.ms);
          for (const late of expected.filter(({ untilMs }) => untilMs <= clock.now())) {
            expectedLog.push(`${late.name}: queue_timeout`);
          }
          expected = expected.filter(({ untilMs }) => untilMs > clock.now());
        }
        for (
          let free = released - expectedLog.filter((line) => !line.includes(":")).length;
          free > 0;
          free--
        ) {
          const first = expected.toSorted((a, b) => a.priority - b.priority)[0];
          if (first === undefined) break;
          expectedLog.push(first.name);
          expected.splice(expected.indexOf(first), 1);
        }
        expect(queue.length).toBe(expected.length);
        expect(clock.pendingTimers).toBe(expected.length);
      }
      queue.rejectAll(tooLate);
      for (const { name } of expected) expectedLog.push(`${name}: queue_timeout`);
      await Promise.all(waits);
      expect(log.toSorted()).toEqual(expectedLog.toSorted());
      expect(state.free).toBe(released - log.filter((line) => !line.includes(":")).length);
      expect(clock.pendingTimers).toBe(0);
    }),
  );
});
