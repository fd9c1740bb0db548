import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RequestTrace } from "./request-trace.ts";
import { TraceRing } from "./trace-ring.ts";

const traceOf = (requestId: string): RequestTrace => ({ requestId }) as RequestTrace;

describe("TraceRing", () => {
  it("knows the last ones, of an id used again the latest", () => {
    fc.assert(
      fc.property(fc.nat(8), fc.array(fc.constantFrom("a", "b", "c", "d", "e")), (capacity, ids) => {
        const ring = new TraceRing(capacity);
        const traces = ids.map(traceOf);
        for (const trace of traces) ring.add(trace);
        const kept = capacity === 0 ? [] : traces.slice(-capacity);
        expect(ring.all()).toEqual(kept);
        for (const id of ["a", "b", "c", "d", "e"]) {
          expect(ring.get(id)).toBe(kept.findLast(({ requestId }) => requestId === id));
        }
      }),
    );
  });
});
