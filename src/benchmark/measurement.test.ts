import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { type Measurement, summarize, summarizeTimes } from "./measurement.ts";
import { compareRuns, parseRunReport, type RunReport } from "./run-report.ts";

const request = (more: Partial<Measurement>): Measurement => ({
  intendedMs: 0,
  sentMs: 0,
  firstTokenMs: 100,
  endMs: 200,
  gapsMs: [50, 50],
  promptTokens: 10,
  outputTokens: 3,
  error: undefined,
  ...more,
});
const anything = { firstTokenMs: undefined, interTokenMs: undefined };

describe("summarizeTimes", () => {
  it("has nearest-rank percentiles", () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(summarizeTimes(values)).toEqual({
      count: 100,
      mean: 50.5,
      p50: 50,
      p90: 90,
      p95: 95,
      p99: 99,
      max: 100,
    });
    expect(summarizeTimes([7])).toMatchObject({ p50: 7, p99: 7, max: 7 });
    expect(summarizeTimes([])).toMatchObject({ count: 0, mean: null, p50: null, max: null });
  });

  it("is made of values that occurred, in order", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1 }), (values) => {
        const { p50, p90, p95, p99, max } = summarizeTimes(values);
        const found = [p50!, p90!, p95!, p99!, max!];
        expect(found).toEqual([...found].sort((a, b) => a - b));
        for (const value of found) expect(values).toContain(value);
        expect(max).toBe(Math.max(...values));
      }),
    );
  });
});

describe("summarize", () => {
  it("counts latency from the intended start, and failures by what went wrong", () => {
    const summary = summarize(
      [
        request({}),
        request({ intendedMs: 10, sentMs: 40, firstTokenMs: 140, endMs: 500 }),
        request({ error: "status 500", firstTokenMs: undefined, endMs: 1_000 }),
      ],
      anything,
    );
    expect(summary).toMatchObject({
      requests: 3,
      succeeded: 2,
      errors: { "status 500": 1 },
      tookMs: 1_000,
      requestsPerSecond: 2,
      outputTokensPerSecond: 6,
      firstToken: { max: 130 },
      endToEnd: { max: 490 },
      sendDelay: { max: 30 },
      goodput: null,
    });
  });

  it("has goodput under a service level, in which failures count", () => {
    const requests = [
      request({ endMs: 1_000 }),
      request({ firstTokenMs: 301 }),
      request({ gapsMs: [10, 200] }),
      request({ error: "total_timeout" }),
    ];
    const goodput = (firstTokenMs?: number, interTokenMs?: number) =>
      summarize(requests, { firstTokenMs, interTokenMs }).goodput;
    expect(goodput(300)).toEqual({ requestsPerSecond: 2, share: 0.5 });
    expect(goodput(300, 60)).toEqual({ requestsPerSecond: 1, share: 0.25 });
    expect(goodput(undefined, 60)).toEqual({ requestsPerSecond: 2, share: 0.5 });
  });
});

describe("inter-token time of a service level", () => {
  it("is the mean over tokens, of which a piece may hold several", () => {
    const level = { firstTokenMs: undefined, interTokenMs: 25 };
    const share = (outputTokens: number) => summarize([request({ outputTokens })], level).goodput!.share;
    // Three pieces 50 ms apart: 50 ms a token with one in each, 20 ms with six in all.
    expect([share(3), share(0), share(6)]).toEqual([0, 0, 1]);
  });
});

describe("reports", () => {
  const report = (measurements: readonly Measurement[], rate = 1): RunReport => ({
    format: "serve-llm bench",
    version: 1,
    startedWallMs: 0,
    options: { rate },
    summary: summarize(measurements, anything),
  });

  it("are read back, and nothing else is", () => {
    const written = report([request({})]);
    expect(parseRunReport(JSON.stringify(written), "a.json")).toEqual(written);
    const { endToEnd: _endToEnd, ...lacking } = written.summary;
    const part = JSON.stringify({ ...written, summary: lacking });
    for (const text of [part, "", "{}", "[]", '{"format":"serve-llm bench","version":2}']) {
      expect(() => parseRunReport(text, "a.json")).toThrow(/a\.json is not valid/);
    }
  });

  it("are compared in the sense of each value", () => {
    const before = report([request({ endMs: 1_000 })]);
    const after = report([request({ endMs: 500, firstTokenMs: 150 })], 2);
    const { differingOptions, values } = compareRuns(before, after);
    expect(differingOptions).toEqual(["rate"]);
    const named = (name: string) => values.find((value) => value.name === name);
    expect(named("requests per second")).toMatchObject({ changePercent: 100, better: true });
    expect(named("first token p50 (ms)")).toMatchObject({ changePercent: 50, better: false });
    expect(named("end to end p99 (ms)")).toMatchObject({ changePercent: -50, better: true });
    expect(named("failed requests")).toMatchObject({ changePercent: null, better: null });
    expect(named("goodput (requests per second)")).toMatchObject({ before: null, better: null });
  });
});
