import { describe, expect, it } from "vitest";
import { ReplicaCalls } from "./replica-calls.ts";
import { legTrace } from "./trace.fixture.ts";

const start = 1_000_000_000;

describe("ReplicaCalls", () => {
  it("counts calls and failures of a replica, but no client's fault or leaving", () => {
    const calls = new ReplicaCalls();
    calls.add(legTrace("decode"), start);
    calls.add(legTrace("decode", { failure: "engine_connection_error" }), start);
    calls.add(legTrace("decode", { failure: "client_closed_request" }), start);
    calls.add(legTrace("decode", { failure: "engine_response_error", clientFault: true }), start);
    expect(calls.of("Decode:m", "d0", start)).toEqual({
      calls: 4,
      failures: 1,
      lastFailure: "engine_connection_error",
    });
    expect(calls.of("Prefill:m", "d0", start)).toEqual({ calls: 0, failures: 0, lastFailure: null });
  });

  it("forgets what is older than a minute, step by step", () => {
    const calls = new ReplicaCalls();
    const failed = legTrace("decode", { failure: "engine_error" });
    calls.add(failed, start);
    calls.add(failed, start + 30_000);
    const failures = (afterMs: number): number => calls.of("Decode:m", "d0", start + afterMs).failures;
    expect([failures(49_000), failures(61_000), failures(79_000), failures(91_000)]).toEqual([2, 1, 1, 0]);
    expect(calls.of("Decode:m", "d0", start + 91_000).lastFailure).toBeNull();
  });

  it("forgets everything after a long silence", () => {
    const calls = new ReplicaCalls();
    calls.add(legTrace("decode"), start);
    expect(calls.of("Decode:m", "d0", start + 1e9).calls).toBe(0);
  });
});
