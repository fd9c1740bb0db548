import { describe, expect, it } from "vitest";

import { FaultSchedule, type Fault, type FaultRule } from "./fault-plan.ts";
import { seededRandom } from "./seeded-random.ts";

const path = "/v1/chat/completions";

describe("FaultSchedule", () => {
  const status = (code: number): Fault => ({ kind: "status", status: code });
  const run = (rules: readonly FaultRule[], count: number, phase: "prefill" | "decode" = "decode"): string =>
    Array.from({ length: count }).reduce<{ schedule: FaultSchedule; out: string }>(
      (state) => ({
        ...state,
        out: state.out + (state.schedule.next(path, phase, false) === undefined ? "." : "x"),
      }),
      { schedule: new FaultSchedule(seededRandom(1), rules), out: "" },
    ).out;

  it("counts by path and phase", () => {
    expect(run([{ match: { nth: 2 }, fault: status(500) }], 4)).toBe(".x..");
    expect(run([{ match: { every: 3 }, fault: status(500) }], 7)).toBe("..x..x.");
    expect(run([{ fault: status(500), times: 2 }], 4)).toBe("xx..");
    expect(run([{ match: { phase: "prefill" }, fault: status(500) }], 2)).toBe("..");
    expect(run([{ match: { phase: "prefill" }, fault: status(500) }], 2, "prefill")).toBe("xx");
    expect(run([{ match: { path: "/health" }, fault: status(500) }], 2)).toBe("..");
  });

  it("takes the first rule that applies; the others still count", () => {
    const schedule = new FaultSchedule(seededRandom(1), [
      { match: { nth: 1 }, fault: status(500) },
      { match: { nth: 2 }, fault: status(503) },
    ]);
    expect([1, 2, 3].map(() => schedule.next(path, "decode", false))).toEqual([
      status(500),
      status(503),
      undefined,
    ]);
  });

  it("draws the same faults from the same seed", () => {
    const rules = [{ match: { probability: 0.5 }, fault: status(500) }];
    const drawn = run(rules, 200);
    expect(run(rules, 200)).toBe(drawn);
    expect(drawn.split("x").length).toBeGreaterThan(60);
    expect(drawn.split(".").length).toBeGreaterThan(60);
  });

  it.each([{ nth: 0 }, { every: 1.5 }, { probability: 2 }])("refuses %j", (match) => {
    expect(() => new FaultSchedule(seededRandom(1), [{ match, fault: status(500) }])).toThrow(RangeError);
  });
});
