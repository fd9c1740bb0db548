import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LegTrace } from "../observability/request-trace.ts";
import { requestRow, segmentsOf } from "./request-row.ts";
import { legTrace, requestTrace } from "./trace.fixture.ts";

/** Segments as `kind from-to`. */
function drawn(...parameters: Parameters<typeof segmentsOf>): readonly string[] {
  return segmentsOf(...parameters).map(({ kind, from, to }) => `${kind} ${from}-${to}`);
}

describe("segmentsOf", () => {
  it("cuts a request into its phases", () => {
    expect(drawn(requestTrace(), 0)).toEqual([
      "queue 0-5",
      "prefill 5-25",
      "handoff 25-27",
      "firstToken 27-40",
      "stream 40-100",
    ]);
  });

  it("shows a request while it runs, up to now", () => {
    const running = { endMs: undefined, outcome: undefined, firstTokenMs: undefined };
    expect(drawn(requestTrace({ ...running, legs: [] }), 30)).toEqual(["queue 0-30"]);
    const prefill = legTrace("prefill", { sentMs: 5 });
    expect(drawn(requestTrace({ ...running, legs: [prefill] }), 30)).toEqual(["queue 0-5", "prefill 5-30"]);
    const answered = { ...prefill, answeredMs: 20, endMs: 20 };
    expect(drawn(requestTrace({ ...running, legs: [answered] }), 30).slice(1)).toEqual([
      "prefill 5-20",
      "handoff 20-30",
    ]);
    const decode = legTrace("decode", { sentMs: 21, answeredMs: 25 });
    expect(drawn(requestTrace({ ...running, legs: [answered, decode] }), 30).slice(-2)).toEqual([
      "firstToken 21-25",
      "stream 25-30",
    ]);
  });

  it("shows calls that failed, and the wait for the next try", () => {
    const legs = [
      legTrace("prefill", { sentMs: 0, answeredMs: 10, endMs: 10, failure: "engine_connection_error" }),
      legTrace("prefill", { sentMs: 12, answeredMs: 30, endMs: 30, replica: "p1" }),
      legTrace("decode", { sentMs: 30, answeredMs: 50, endMs: 100 }),
    ];
    const segments = segmentsOf(requestTrace({ legs }), 0);
    expect(segments[0]).toEqual({ kind: "failed", from: 0, to: 10, replica: "p0", leg: "prefill" });
    expect(segments.map(({ kind }) => kind)).toEqual(["failed", "queue", "prefill", "firstToken", "stream"]);
  });

  it("lets legs that were sent at once overlap", () => {
    const legs = [
      legTrace("prefill", { sentMs: 0, answeredMs: 30, endMs: 30 }),
      legTrace("decode", { sentMs: 0, answeredMs: 40, endMs: 60 }),
    ];
    expect(drawn(requestTrace({ legs, endMs: 60 }), 0)).toEqual([
      "prefill 0-30",
      "firstToken 0-40",
      "stream 40-60",
    ]);
  });

  it("never leaves the request's time, and none runs backwards", () => {
    const time = fc.double({ min: 0, max: 1000, noNaN: true });
    const leg = fc
      .record({
        leg: fc.constantFrom<LegTrace["leg"]>("prefill", "decode"),
        times: fc.tuple(time, time, time),
        failed: fc.boolean(),
      })
      .map(({ leg, times, failed }) => {
        const [sentMs, answeredMs, endMs] = times.toSorted((one, other) => one - other);
        return legTrace(leg, {
          sentMs: sentMs!,
          answeredMs,
          endMs,
          failure: failed ? "engine_error" : undefined,
        });
      });
    fc.assert(
      fc.property(fc.array(leg, { maxLength: 12 }), (legs) => {
        const segments = segmentsOf(requestTrace({ legs, endMs: 1000 }), 0);
        for (const { from, to } of segments) {
          expect(from).toBeGreaterThanOrEqual(0);
          expect(to).toBeGreaterThanOrEqual(from);
          expect(to).toBeLessThanOrEqual(1000);
        }
      }),
    );
  });
});

describe("requestRow", () => {
  it("tells refusals from failures", () => {
    const legs = [legTrace("decode", { failure: "engine_response_error", clientFault: true })];
    expect(requestRow(requestTrace({ outcome: "failed", legs }), 1, 0).outcome).toBe("refused");
    expect(requestRow(requestTrace({ outcome: "failed", legs: [] }), 1, 0).outcome).toBe("failed");
    expect(requestRow(requestTrace({ outcome: undefined, endMs: undefined }), 1, 12).outcome).toBeNull();
  });

  it("cuts what clients choose, and has nothing of the engine's or the request's content", () => {
    const row = requestRow(requestTrace({ requestId: "x".repeat(5000) }), 1, 0);
    expect(row.id).toHaveLength(100);
    expect(JSON.stringify(row)).not.toContain("engine-id");
  });
});
