import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import { EngineStreamError } from "../errors/engine-stream-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import { DoneGuard } from "../protocol/done-guard.ts";
import type { EventStreamMonitor } from "../protocol/event-stream-monitor.ts";
import { startOfEvent } from "../protocol/start-of-event.ts";

/** True when every choice of a stream is finished and nothing was wrong. */
export function isWhole({ isComplete, error, malformed, brokeOff }: EventStreamMonitor): boolean {
  return isComplete && error === undefined && !malformed && !brokeOff;
}

/**
 * How much of the events with which an answer ends, whichever way, is for the client.
 *
 * @param seenBefore how many events the monitor had seen before these
 * @param withinEvent true when they begin within an event
 */
export function lengthBeforeEnd(
  events: Uint8Array,
  { endsAt, eventCount }: EventStreamMonitor,
  seenBefore: number,
  withinEvent: boolean,
): number {
  return endsAt === undefined
    ? (new DoneGuard({ withinLine: withinEvent }).take(events).pass?.length ?? 0)
    : startOfEvent(events, endsAt - seenBefore, withinEvent, endsAt === eventCount);
}

/** What is wrong with a stream that is over and not whole: the engine's own error event, or how it ended. */
export function endError(monitor: EventStreamMonitor, origin: EngineErrorOrigin): ServeLLMError {
  const { error, errorStatus, malformed, brokeOff, sawContent } = monitor;
  if (error !== undefined) return new EngineResponseError(origin, errorStatus ?? 500, error);
  if (malformed) return new EngineStreamError(origin, "malformed");
  return new EngineStreamError(origin, brokeOff || sawContent ? "truncated" : "swallowed");
}
