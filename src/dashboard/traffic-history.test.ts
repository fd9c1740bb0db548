import { describe, expect, it } from "vitest";
import { legTrace, requestTrace } from "./trace.fixture.ts";
import { maxPoints, pointMs, TrafficHistory } from "./traffic-history.ts";

const start = 1_000_000_000;

describe("TrafficHistory", () => {
  it("counts requests by how they ended and were served", () => {
    const history = new TrafficHistory(start);
    history.add(requestTrace(), start);
    history.add(requestTrace({ mode: "decode-only", reason: "echo" }), start);
    history.add(requestTrace({ outcome: "failed" }), start);
    history.add(requestTrace({ outcome: "broken" }), start);
    history.add(requestTrace({ outcome: "cancelled" }), start);
    const refused = [legTrace("decode", { failure: "engine_response_error", clientFault: true })];
    history.add(requestTrace({ outcome: "failed", legs: refused }), start);
    expect(history.points(0, start)).toMatchObject([
      { succeeded: 2, failed: 2, cancelled: 1, refused: 1, disaggregated: 5, decodeOnly: 1 },
    ]);
    expect(history.summary(start + pointMs)).toMatchObject({
      requests: 6,
      requestsPerSecond: 3,
      errorShare: 0.333,
      decodeOnlyShare: 0.167,
    });
  });

  it("measures time to first token and between tokens", () => {
    const history = new TrafficHistory(start);
    history.add(requestTrace(), start);
    const { timeToFirstTokenMs, interTokenMs, tokensPerSecond } = history.summary(start + pointMs);
    expect(Math.abs(timeToFirstTokenMs!.p50 - 40)).toBeLessThan(2.1);
    expect(Math.abs(interTokenMs!.p50 - 10)).toBeLessThan(0.6);
    expect(tokensPerSecond).toBe(3.5);
  });

  it("has a point for every interval, and forgets after ten minutes", () => {
    const history = new TrafficHistory(start);
    history.add(requestTrace(), start);
    const end = start + 3 * pointMs;
    expect(history.points(0, end).map(({ succeeded }) => succeeded)).toEqual([1, 0, 0, 0]);
    expect(history.points(end, end)).toHaveLength(1);
    const later = start + 2 * maxPoints * pointMs;
    expect(history.points(0, later)).toHaveLength(maxPoints);
    expect(history.points(0, later).some(({ succeeded }) => succeeded > 0)).toBe(false);
    expect(history.summary(later)).toMatchObject({ requests: 0, errorShare: null, decodeOnlyShare: null });
  });

  it("stays small however long it counts, also when the clock is set back", () => {
    const history = new TrafficHistory(start);
    for (let index = 0; index < 5 * maxPoints; index += 1)
      history.add(requestTrace(), start + index * pointMs);
    const now = start + 5 * maxPoints * pointMs;
    history.add(requestTrace(), start);
    expect(history.points(0, now)).toHaveLength(maxPoints);
    expect(history.points(0, now - pointMs).at(-1)!.succeeded).toBe(2);
  });
});
