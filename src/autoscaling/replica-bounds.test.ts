import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { parseAutoscalingConfig } from "../config/autoscaling-config.ts";
import { adjustToCapacity, fullCapacity, initialTarget, nextCapacityDirection } from "./replica-bounds.ts";

const percent = fc.double({ min: 0, max: 100, noNaN: true });

describe("adjustToCapacity", () => {
  it("grows with capacity and never exceeds the full number", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 500 }), percent, percent, (count, a, b) => {
        const low = adjustToCapacity(count, Math.min(a, b));
        const high = adjustToCapacity(count, Math.max(a, b));
        expect(low).toBeLessThanOrEqual(high);
        expect(high).toBeLessThanOrEqual(count);
      }),
    );
  });

  it("keeps at least one replica of some", () => {
    expect([adjustToCapacity(3, 0.01), adjustToCapacity(3, 0), adjustToCapacity(0, 50)]).toEqual([1, 0, 0]);
  });
});

describe("initialTarget", () => {
  const config = parseAutoscalingConfig({ minReplicas: 1, initialReplicas: 3, maxReplicas: 8 });
  it("starts over from initialReplicas only when options changed", () => {
    const at = (changed: boolean) =>
      initialTarget({ config, capacity: fullCapacity, currentTarget: 6, changed });
    expect([at(true), at(false)]).toEqual([3, 6]);
  });
});

describe("nextCapacityDirection", () => {
  const next = (from: number | null, to: number | null, sameApplications = true) =>
    nextCapacityDirection({
      previous: { percent: from, direction: "UP" },
      percent: to,
      sameApplications,
    });

  it.each([
    ["the same capacity keeps it", next(50, 50), "UP"],
    ["more is up", next(50, 60), "UP"],
    ["less is down", next(50, 40), "DOWN"],
    ["a first limit is down", next(null, 40), "DOWN"],
    ["no limit is none", next(50, null), null],
    ["other applications start going up", next(50, 40, false), "UP"],
    ["other applications without a limit have none", next(50, null, false), null],
  ])("%s", (_name, actual, expected) => {
    expect(actual).toBe(expected);
  });
});
