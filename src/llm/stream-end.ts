import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import { EngineStreamError } from "../errors/engine-stream-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { EventStreamMonitor } from "../protocol/event-stream-monitor.ts";

/** True when every choice of a stream is finished and nothing was wrong. */
export function isWhole({ isComplete, error, malformed, brokeOff }: EventStreamMonitor): boolean {
  return isComplete && error === undefined && !malformed && !brokeOff;
}

/** What is wrong with a stream that is over and not whole: the engine's own error event, or how it ended. */
export function endError(monitor: EventStreamMonitor, origin: EngineErrorOrigin): ServeLLMError {
  const { error, errorStatus, malformed, brokeOff, sawContent } = monitor;
  if (error !== undefined) return new EngineResponseError(origin, errorStatus ?? 500, error);
  if (malformed) return new EngineStreamError(origin, "malformed");
  return new EngineStreamError(origin, brokeOff || sawContent ? "truncated" : "swallowed");
}
