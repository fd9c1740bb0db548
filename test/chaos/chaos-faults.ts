import type { Fault, FaultRule, MockPhase } from "../../src/testing/index.ts";
import type { Random } from "../../src/internal/random.ts";

const prefillFaults: readonly Fault[] = [
  { kind: "resetAtByte", byte: 0 },
  { kind: "resetAtByte", byte: 60 },
  { kind: "status", status: 500 },
  { kind: "status", status: 503 },
  { kind: "status", status: 429, retryAfterS: 1 },
  { kind: "noKv" },
  { kind: "noKv", form: "missing" },
  { kind: "noKv", form: "empty" },
  { kind: "wrongKv", remove: ["remote_engine_id"] },
  { kind: "wrongKv", remove: ["remote_host"] },
  { kind: "wrongKv", replace: { remote_block_ids: [] } },
  { kind: "wrongKv", replace: { do_remote_prefill: false } },
  { kind: "expiredKv" },
  { kind: "emptyBody" },
  { kind: "errorIn200" },
  { kind: "stallBeforeHeaders", forMs: 30 },
  { kind: "stallBeforeHeaders" },
  { kind: "splitBytes", size: 7 },
  { kind: "halfOpen" },
  { kind: "closeOnReuse" },
];

const decodeFaults: readonly Fault[] = [
  { kind: "resetAtByte", byte: 0 },
  { kind: "resetAtByte", byte: 300 },
  { kind: "resetAtByte", byte: 700 },
  { kind: "status", status: 500 },
  { kind: "status", status: 503 },
  { kind: "status", status: 429, retryAfterS: 1 },
  { kind: "emptyBody" },
  { kind: "errorIn200" },
  { kind: "swallowedError" },
  { kind: "sseError" },
  { kind: "sseError", afterTokens: 2 },
  { kind: "truncated", afterTokens: 2 },
  { kind: "truncated", keepFinish: true },
  { kind: "malformedSse", afterTokens: 1 },
  { kind: "stallBeforeHeaders" },
  { kind: "stallAfterTokens", tokens: 2 },
  { kind: "splitBytes" },
  { kind: "splitBytes", size: 5 },
  { kind: "contentType", value: "text/plain" },
  { kind: "wrongFraming" },
  { kind: "gzip" },
  { kind: "halfOpen" },
  { kind: "closeOnReuse" },
  { kind: "pings", everyMs: 20 },
];

/** A fault for the next request of a phase, now and then. */
export function randomFault(random: Random): { readonly phase: MockPhase; readonly rule: FaultRule } {
  const phase = random.next() < 0.5 ? "prefill" : "decode";
  const faults = phase === "prefill" ? prefillFaults : decodeFaults;
  const fault = faults[Math.floor(random.next() * faults.length)]!;
  return { phase, rule: { fault, match: { phase }, times: 1 } };
}
