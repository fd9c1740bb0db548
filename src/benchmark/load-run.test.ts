import { describe, expect, it } from "vitest";

import { FakeClock } from "../testing/fake-clock.ts";
import { seededRandom } from "../testing/seeded-random.ts";
import type { Conversation } from "./conversation.ts";
import { LoadRun, type LoadRunOptions } from "./load-run.ts";
import { summarize } from "./measurement.ts";
import type { BenchmarkTarget, TargetAnswer, TargetRequest } from "./openai-target.ts";

const fine: TargetAnswer = { text: "yes", promptTokens: 5, outputTokens: 2, error: undefined };
const one: Conversation = { opening: [], turns: [{ content: "q", outputTokens: 2 }], atMs: undefined };

/** Takes one request at a time, each for `serviceMs`: who comes meanwhile queues. */
class QueueingTarget implements BenchmarkTarget {
  readonly requests: TargetRequest[] = [];
  readonly #clock: FakeClock;
  readonly #serviceMs: number;
  readonly #answer: (index: number) => TargetAnswer;
  #freeAt = 0;
  inFlight = 0;
  mostInFlight = 0;

  constructor(clock: FakeClock, serviceMs: number, answer: (index: number) => TargetAnswer = () => fine) {
    this.#clock = clock;
    this.#serviceMs = serviceMs;
    this.#answer = answer;
  }

  send(request: TargetRequest, onPiece: () => void, signal: AbortSignal): Promise<TargetAnswer> {
    const index = this.requests.push(request) - 1;
    this.inFlight += 1;
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    const begin = Math.max(this.#clock.now(), this.#freeAt);
    this.#freeAt = begin + this.#serviceMs;
    return new Promise((resolve) => {
      const settle = (answer: TargetAnswer): void => {
        this.inFlight -= 1;
        resolve(answer);
      };
      const first = this.#clock.setTimer(onPiece, begin + this.#serviceMs / 2 - this.#clock.now());
      const last = this.#clock.setTimer(() => {
        onPiece();
        settle(this.#answer(index));
      }, this.#freeAt - this.#clock.now());
      signal.addEventListener("abort", () => {
        first.cancel();
        last.cancel();
        settle({ ...fine, error: "request_cancelled" });
      });
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Moves time from timer to timer until the run is over. */
async function play(clock: FakeClock, run: LoadRun): Promise<Awaited<ReturnType<LoadRun["run"]>>> {
  let over = false;
  const result = run.run().finally(() => (over = true));
  for (;;) {
    // What was resolved goes on before time does.
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    const { nextTimerMs } = clock;
    if (over || nextTimerMs === undefined) return result;
    clock.advance(nextTimerMs - clock.now());
  }
}

function makeRun(clock: FakeClock, target: BenchmarkTarget, more: Partial<LoadRunOptions>): LoadRun {
  return new LoadRun({
    target,
    shape: { kind: "closed", concurrency: 1 },
    next: (atMs) => ({ ...one, atMs }),
    thinkMs: 0,
    clock,
    random: seededRandom(7),
    signal: new AbortController().signal,
    ...more,
  });
}

describe("a closed loop", () => {
  it("keeps so many running, and ends after so many", async () => {
    const clock = new FakeClock();
    const target = new QueueingTarget(clock, 100);
    const run = makeRun(clock, target, { shape: { kind: "closed", concurrency: 3 }, count: 10 });
    const measured = await play(clock, run);
    expect(measured).toHaveLength(10);
    expect(target.mostInFlight).toBe(3);
    expect(clock.now()).toBe(1_000);
    expect(clock.pendingTimers).toBe(0);
    expect(run.progress).toMatchObject({ begun: 10, inFlight: 0, succeeded: 10, failed: 0 });
  });

  it("begins none after its time, and lets those end that run", async () => {
    const clock = new FakeClock();
    const run = makeRun(clock, new QueueingTarget(clock, 100), { durationMs: 250 });
    expect((await play(clock, run)).map(({ endMs }) => endMs)).toEqual([100, 200, 300]);
  });
});

describe("an open loop", () => {
  it("does not wait for a slow target, and counts from when a request was due", async () => {
    const clock = new FakeClock();
    const target = new QueueingTarget(clock, 1_000);
    // Ten a second at a target that does one a second: each waits longer than the one before.
    const measured = await play(
      clock,
      makeRun(clock, target, { shape: { kind: "open", perSecond: 10 }, count: 20 }),
    );
    expect(target.mostInFlight).toBeGreaterThan(15);
    const { sendDelay, endToEnd, firstToken } = summarize(measured, {
      firstTokenMs: undefined,
      interTokenMs: undefined,
    });
    expect(sendDelay.max).toBeCloseTo(0, 6);
    expect(endToEnd.max!).toBeGreaterThan(15_000);
    // A closed loop would have called each of these one second.
    expect(firstToken.p50!).toBeGreaterThan(5_000);
  });

  it("counts the time by which this machine was late against the request", async () => {
    const clock = new FakeClock();
    const conversations: Conversation[] = [{ ...one, atMs: 5 }];
    // Making the second request takes 90 ms, in which the third should have been sent.
    const next = (): Conversation | undefined => {
      const made = conversations.length;
      if (made === 2) clock.advance(90);
      if (made > 2) return undefined;
      conversations.push(one);
      return { ...one, atMs: made * 10 };
    };
    const run = makeRun(clock, new QueueingTarget(clock, 0), { shape: { kind: "trace" }, next });
    const [, second] = await play(clock, run);
    expect(second!.intendedMs).toBe(20);
    expect(second!.sentMs).toBeGreaterThanOrEqual(90);
    expect(second!.firstTokenMs! - second!.intendedMs).toBeGreaterThanOrEqual(70);
  });

  it("has arrivals whose mean is the rate, the same for the same seed", async () => {
    const arrivals = async (): Promise<readonly number[]> => {
      const clock = new FakeClock();
      const run = makeRun(clock, new QueueingTarget(clock, 0), {
        shape: { kind: "open", perSecond: 50 },
        count: 2_000,
      });
      return (await play(clock, run)).map(({ intendedMs }) => intendedMs).sort((a, b) => a - b);
    };
    const times = await arrivals();
    expect(times.at(-1)! / 2_000).toBeGreaterThan(19);
    expect(times.at(-1)! / 2_000).toBeLessThan(21);
    // Poisson: the standard deviation of the intervals is their mean.
    const gaps = times.map((time, index) => time - (times[index - 1] ?? 0));
    const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - 20) ** 2, 0) / gaps.length);
    expect(deviation).toBeGreaterThan(18);
    expect(deviation).toBeLessThan(22);
    expect(await arrivals()).toEqual(times);
  });
});

describe("conversations", () => {
  it("go on from the answer, after a while", async () => {
    const clock = new FakeClock();
    const target = new QueueingTarget(clock, 100);
    const turns = [
      { content: "first", outputTokens: 3 },
      { content: "second", outputTokens: 4 },
    ];
    const conversation: Conversation = {
      opening: [{ role: "system", content: "s" }],
      turns,
      atMs: undefined,
    };
    const run = makeRun(clock, target, { next: () => conversation, count: 1, thinkMs: 500 });
    const measured = await play(clock, run);
    expect(target.requests[1]).toEqual({
      messages: [
        { role: "system", content: "s" },
        { role: "user", content: "first" },
        { role: "assistant", content: "yes" },
        { role: "user", content: "second" },
      ],
      outputTokens: 4,
    });
    // What was sent first is not changed by what came later.
    expect(target.requests[0]!.messages).toHaveLength(2);
    expect(measured.map(({ intendedMs, endMs }) => [intendedMs, endMs])).toEqual([
      [0, 100],
      [600, 700],
    ]);
  });

  it("end with a turn that failed", async () => {
    const clock = new FakeClock();
    const target = new QueueingTarget(clock, 10, () => ({ ...fine, error: "status 500" }));
    const turns = [one.turns[0]!, one.turns[0]!];
    const run = makeRun(clock, target, { next: () => ({ ...one, turns }), count: 2 });
    expect(await play(clock, run)).toHaveLength(2);
    expect(run.progress).toMatchObject({ succeeded: 0, failed: 2 });
  });

  it("are cut off when the run is stopped, and what was measured stays", async () => {
    const clock = new FakeClock();
    const stop = new AbortController();
    const run = makeRun(clock, new QueueingTarget(clock, 100), {
      shape: { kind: "open", perSecond: 20 },
      signal: stop.signal,
    });
    clock.setTimer(() => stop.abort(), 450);
    const measured = await play(clock, run);
    expect(measured.some(({ error }) => error === undefined)).toBe(true);
    expect(measured.some(({ error }) => error === "request_cancelled")).toBe(true);
    expect(run.progress.inFlight).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });
});
