import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RequestTrace, RetryCause } from "./request-trace.ts";
import { TraceRing } from "./trace-ring.ts";

const name = fc.constantFrom("a", "b", "c", "d", "e");
const ms = fc.double({ noNaN: true, min: 0 });
const count = fc.nat();
const maybe = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> =>
  fc.option(value, { nil: undefined });

const candidate = fc.record({
  replica: name,
  inFlight: count,
  engineLoad: maybe(fc.record({ running: count, waiting: count, kvCacheUsage: ms })),
  scores: maybe(fc.dictionary(fc.constantFrom("load", "prefix_match", "x", "y", "z"), fc.double())),
});
const leg = fc.record({
  leg: fc.constantFrom("prefill" as const, "decode" as const),
  deployment: name,
  replica: name,
  publicName: name,
  engineRequestId: name,
  choice: maybe(
    fc.record({ considered: count, ranked: fc.array(candidate, { maxLength: 5 }), queuedMs: ms }),
  ),
  sentMs: ms,
  answeredMs: maybe(ms),
  endMs: maybe(ms),
  failure: maybe(name),
  clientFault: fc.boolean(),
});
const anyTrace: fc.Arbitrary<RequestTrace> = fc.record({
  requestId: name,
  deployment: name,
  model: name,
  method: name,
  stream: fc.boolean(),
  startedWallMs: ms,
  mode: fc.constantFrom("pd" as const, "decode-only" as const, "single" as const),
  reason: maybe(name),
  leasedMs: maybe(ms),
  firstTokenMs: maybe(ms),
  endMs: maybe(ms),
  retries: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, count),
  retryCauses: fc.oneof(
    { weight: 3, arbitrary: fc.constant<RetryCause[]>([]) },
    fc.array(fc.record({ leg: fc.constant("prefill" as const), errorCode: name })),
  ),
  legs: fc.array(leg, { maxLength: 3 }),
  events: maybe(count),
  usage: maybe(fc.record({ promptTokens: count, completionTokens: count, cachedTokens: maybe(count) })),
  outcome: maybe(
    fc.constantFrom("success" as const, "cancelled" as const, "failed" as const, "broken" as const),
  ),
  errorCode: maybe(name),
});

/** Old enough to be packed. */
function age(ring: TraceRing, filler: RequestTrace): void {
  for (let index = 0; index < 40; index += 1) ring.add({ ...filler, requestId: "filler" });
}

const [plain] = fc.sample(
  anyTrace.filter(({ legs }) => legs.length === 2),
  { numRuns: 1, seed: 1 },
);
const ordinary: RequestTrace = {
  ...plain!,
  requestId: "it",
  stream: true,
  events: 3,
  retries: 0,
  retryCauses: [],
};

describe("TraceRing", () => {
  it("knows the last ones as they were, of an id used again the latest", () => {
    fc.assert(
      fc.property(fc.nat(90), fc.array(anyTrace, { maxLength: 150, size: "max" }), (capacity, traces) => {
        const ring = new TraceRing(capacity);
        for (const trace of traces) ring.add(trace);
        const kept = capacity === 0 ? [] : traces.slice(-capacity);
        expect(ring.all()).toEqual(kept);
        for (const id of ["a", "b", "c", "d", "e"])
          expect(ring.get(id)).toEqual(kept.findLast(({ requestId }) => requestId === id));
      }),
      { numRuns: 60 },
    );
  });

  it("goes around many times", () => {
    const ring = new TraceRing(300);
    for (let index = 0; index < 1000; index += 1)
      ring.add({ ...ordinary, requestId: String(index), events: index });
    expect(ring.all().map(({ events }) => events)).toEqual(
      Array.from({ length: 300 }, (_, index) => 700 + index),
    );
    expect(ring.get("700")).toEqual({ ...ordinary, requestId: "700", events: 700 });
    expect(ring.get("699")).toBeUndefined();
  });

  it("does not keep what an ordinary request was made of", () => {
    const ring = new TraceRing(100);
    ring.add(ordinary);
    expect(ring.get("it")).toBe(ordinary);
    age(ring, ordinary);
    expect(ring.get("it")).toEqual(ordinary);
    expect(ring.get("it")).not.toBe(ordinary);
  });

  it("hears of what an engine says after the request, whenever that is", () => {
    const ring = new TraceRing(100);
    const trace: RequestTrace = { ...ordinary, events: undefined, usage: undefined };
    ring.add(trace);
    age(ring, ordinary);
    trace.events = 7;
    trace.usage = { promptTokens: 1, completionTokens: 2, cachedTokens: undefined };
    expect(ring.get("it")).toEqual(trace);
  });

  it.each([0.5, -1, "many", NaN, Infinity])("keeps scores that are %s", (score) => {
    const ring = new TraceRing(100);
    const scores = { load: score as number };
    const choice = {
      considered: 1,
      queuedMs: 0,
      ranked: [{ replica: "r", inFlight: 1, engineLoad: undefined, scores }],
    };
    const trace = { ...ordinary, legs: [{ ...ordinary.legs[0]!, choice }] };
    ring.add(trace);
    age(ring, ordinary);
    expect(ring.get("it")).toEqual(trace);
  });
});
