import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { aggregateLoad, aggregateTimeSeries, mergeTimeSeries } from "./time-series.ts";
import type { TimeSeries } from "./time-series.ts";

/** Points on a grid of 10 ms, so that rounding changes nothing. */
const series = fc
  .uniqueArray(fc.integer({ min: 0, max: 300 }), { maxLength: 12 })
  .chain((times) =>
    fc.tuple(
      fc.constant([...times].sort((a, b) => a - b)),
      fc.array(fc.integer({ min: 0, max: 50 }), { minLength: times.length, maxLength: times.length }),
    ),
  )
  .map(([times, values]): TimeSeries =>
    times.map((time, index) => ({ timestampS: time / 100, value: values[index] ?? 0 })),
  );

function valueAt(points: TimeSeries, timeS: number): number {
  return points.findLast((point) => point.timestampS <= timeS)?.value ?? 0;
}

describe("mergeTimeSeries", () => {
  it("is the sum of the gauges at every moment", () => {
    fc.assert(
      fc.property(fc.array(series, { minLength: 2, maxLength: 5 }), (all) => {
        const merged = mergeTimeSeries(all);
        for (let time = 0; time <= 300; time += 1) {
          const expected = all.reduce((sum, points) => sum + valueAt(points, time / 100), 0);
          expect(valueAt(merged, time / 100)).toBe(expected);
        }
      }),
    );
  });

  it("is in order and says each time once", () => {
    fc.assert(
      fc.property(fc.array(series, { minLength: 2, maxLength: 5 }), (all) => {
        const times = mergeTimeSeries(all).map((point) => point.timestampS);
        expect(times).toEqual([...new Set(times)].sort((a, b) => a - b));
      }),
    );
  });

  it("rounds exact halves to even, as Python does", () => {
    const points = (timestampS: number): TimeSeries => [{ timestampS, value: 1 }];
    const times = mergeTimeSeries([points(0.125), points(0.375), points(0.875)]).map((p) => p.timestampS);
    expect(times).toEqual([0.12, 0.38, 0.88]);
  });
});

describe("aggregateTimeSeries", () => {
  it("gives a mean between the least and the greatest value", () => {
    fc.assert(
      fc.property(series, fc.double({ min: 0.01, max: 10, noNaN: true }), (points, lastWindowS) => {
        const mean = aggregateTimeSeries(points, "mean", { lastWindowS });
        const least = aggregateTimeSeries(points, "min", { lastWindowS });
        const greatest = aggregateTimeSeries(points, "max", { lastWindowS });
        if (points.length === 0) {
          expect([mean, least, greatest]).toEqual([undefined, undefined, undefined]);
          return;
        }
        expect(mean).toBeGreaterThanOrEqual((least ?? Infinity) - 1e-9);
        expect(mean).toBeLessThanOrEqual((greatest ?? -Infinity) + 1e-9);
      }),
    );
  });
});

describe("aggregateLoad", () => {
  it("is 0 without points", () => {
    expect(aggregateLoad([[], []], "mean", 5)).toBe(0);
  });

  it("begins where every series has begun", () => {
    const early: TimeSeries = [{ timestampS: 0, value: 10 }];
    const late: TimeSeries = [
      { timestampS: 8, value: 2 },
      { timestampS: 9, value: 4 },
    ];
    expect(aggregateLoad([early, late], "mean", 12)).toBeCloseTo((12 * 1 + 14 * 3) / 4, 9);
  });
});
