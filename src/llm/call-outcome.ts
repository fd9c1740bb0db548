import { EngineError } from "../errors/engine-error.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import type { CallOutcome } from "../replicas/replica-health.ts";

/** What an error says about the replica it came from. Client faults and departures say nothing bad. */
export function outcomeOf(error: unknown): CallOutcome {
  if (error instanceof EngineResponseError) {
    if (error.isClientFault) return "success";
    // Busy is not ill: an engine that sheds load must not be ejected for it.
    return error.engineStatus === 429 ? "neutral" : "failure";
  }
  return error instanceof EngineError ? "failure" : "neutral";
}
