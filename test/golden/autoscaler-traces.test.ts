import { join } from "node:path";
import { describe, expect, it } from "vitest";

import { Autoscaler } from "../../src/autoscaling/autoscaler.ts";
import { ScaleDriver } from "../../src/autoscaling/scale-driver.ts";
import { parseAutoscalingConfig } from "../../src/config/autoscaling-config.ts";
import type { Clock } from "../../src/internal/clock.ts";
import { readCorpus } from "./run-corpus.ts";

interface Trace {
  readonly kind: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly ticks: readonly { readonly t: number; readonly total: number; readonly running?: number }[];
  readonly gang_size?: number;
  readonly target_capacity?: number | null;
}

interface Recorded {
  readonly decisions: readonly { readonly t: number; readonly target: number }[];
}

const traces = readCorpus(join(import.meta.dirname, "autoscaling.jsonl"))
  .map(({ id, input, expect: recorded }) => ({ id, input: input as Trace, recorded: recorded as Recorded }))
  .filter(({ input }) => input.kind === "trace");
/** A share of the capacity is for roll-outs by Ray's controller; a loop here always has all of it. */
const whole = traces.filter(({ input }) => (input.target_capacity ?? null) === null);

/** Time that stands where a trace says; the loop's one timer fires when it is told to. */
class TraceClock implements Clock {
  nowMs = 0;
  tick: () => void = () => undefined;

  now(): number {
    return this.nowMs;
  }

  wallNow(): number {
    return this.nowMs;
  }

  setTimer(callback: () => void) {
    this.tick = callback;
    return { cancel: () => undefined, refresh: () => undefined };
  }
}

/** What a scaling target hears when the whole loop, with its measuring, sees the load of a trace. */
async function follow({ config, ticks, gang_size: gangSize = 1 }: Trace) {
  const clock = new TraceClock();
  const calls: [t: number, replicas: number][] = [];
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  let seen: Trace["ticks"][number] = { t: 0, total: 0 };
  const driver = new ScaleDriver({
    deployment: "D",
    clock,
    warn,
    target: {
      setReplicas: (replicas) => {
        calls.push([seen.t, replicas]);
        return Promise.resolve();
      },
    },
  });
  const autoscaler: Autoscaler = new Autoscaler({
    deployment: "D",
    // Traces say what the load is when it is judged: no mean of earlier moments.
    config: parseAutoscalingConfig({ ...config, look_back_period_s: 0.001, metrics_interval_s: 0.001 }),
    gangSize,
    load: () => {
      const replicas = seen.running ?? autoscaler.target;
      const running = new Map(
        Array.from({ length: replicas }, (_, index) => [`r${index}`, index === 0 ? seen.total : 0] as const),
      );
      return { queued: replicas === 0 ? seen.total : 0, running };
    },
    clock,
    onTarget: (replicas) => driver.want(replicas),
    warn,
  });
  const first = autoscaler.target;
  driver.assume(first);
  autoscaler.start();
  const targets: number[] = [];
  for (const tick of ticks) {
    seen = tick;
    clock.nowMs = tick.t * 1000;
    clock.tick();
    // The driver calls its target before, or right after, the call before has settled.
    await new Promise((resolve) => setImmediate(resolve));
    targets.push(autoscaler.target);
  }
  autoscaler.stop();
  await driver.stop();
  return { first, targets, calls, warnings };
}

describe("the autoscaler decides as Ray 2.58.0 was recorded to, at the same times", () => {
  it("has traces to follow", () => {
    expect(whole.length).toBeGreaterThan(20);
  });

  it.each(whole)("$id", async ({ input, recorded }) => {
    const { first, targets, calls, warnings } = await follow(input);
    expect(targets).toEqual(recorded.decisions.map(({ target }) => target));
    const changes = recorded.decisions.filter(
      ({ target }, index) => target !== (recorded.decisions[index - 1]?.target ?? first),
    );
    expect(calls).toEqual(changes.map(({ t, target }) => [t, target]));
    expect(warnings).toEqual([]);
  });
});
