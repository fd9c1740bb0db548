import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LatencySketch } from "./latency-sketch.ts";

function sketchOf(values: readonly number[]): LatencySketch {
  const sketch = new LatencySketch();
  for (const value of values) sketch.add(value);
  return sketch;
}

describe("LatencySketch", () => {
  it("has no quantiles of nothing", () => {
    expect(new LatencySketch().quantiles()).toBeNull();
  });

  it("is right to about 5 %, however the values are spread", () => {
    const values = fc.array(fc.double({ min: 0.2, max: 600_000, noNaN: true }), {
      minLength: 1,
      maxLength: 300,
    });
    fc.assert(
      fc.property(values, (values) => {
        const sorted = values.toSorted((one, other) => one - other);
        const quantiles = sketchOf(values).quantiles()!;
        for (const [share, found] of [
          [0.5, quantiles.p50],
          [0.95, quantiles.p95],
        ] as const) {
          const exact = sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1]!;
          expect(Math.abs(found - exact) / exact).toBeLessThan(0.055);
        }
      }),
    );
  });

  it("takes times of nothing and of hours", () => {
    expect(sketchOf([0, -1, 0.01]).quantiles()!.p95).toBeLessThanOrEqual(0.1);
    expect(sketchOf([1e9]).quantiles()!.p50).toBeGreaterThan(600_000);
  });

  it("is the same whether counted at once or in parts", () => {
    const merged = sketchOf([1, 2, 3]);
    merged.merge(sketchOf([400, 500]));
    expect(merged.quantiles()).toEqual(sketchOf([1, 2, 3, 400, 500]).quantiles());
  });
});
