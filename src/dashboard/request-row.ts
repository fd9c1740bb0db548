import type { LegTrace, RequestTrace } from "../observability/request-trace.ts";
import type { RequestRow, Segment, SegmentKind } from "./page-message.ts";

/** Clients choose the ids of their requests. */
const longestText = 100;
/** A request that is tried again and again needs no more to be understood. */
const mostLegs = 8;

/**
 * A request as the page draws it.
 *
 * @param key unique among the rows of a page
 * @param nowMs milliseconds since the request came; only used while it runs
 */
export function requestRow(trace: RequestTrace, key: number, nowMs: number): RequestRow {
  return {
    key,
    id: trace.requestId.slice(0, longestText),
    at: Math.round(trace.startedWallMs),
    model: trace.model.slice(0, longestText),
    method: trace.method,
    mode: trace.mode,
    reason: trace.reason ?? null,
    outcome: trace.endMs === undefined ? null : isRefused(trace) ? "refused" : (trace.outcome ?? null),
    error: trace.errorCode ?? null,
    retries: trace.retries,
    tokens: trace.usage?.completionTokens ?? trace.events ?? null,
    firstTokenMs: trace.firstTokenMs === undefined ? null : rounded(trace.firstTokenMs),
    totalMs: rounded(trace.endMs ?? nowMs),
    segments: segmentsOf(trace, nowMs),
  };
}

/** An engine refused what the client asked for: no failure of anything here. */
export function isRefused({ outcome, legs }: RequestTrace): boolean {
  return outcome === "failed" && legs.at(-1)?.clientFault === true;
}

/**
 * A request's time, cut into what went on: every call to an engine, those that failed too, and the waiting between.
 * Segments of the two legs overlap when both are sent at once.
 */
export function segmentsOf(trace: RequestTrace, nowMs: number): readonly Segment[] {
  const end = trace.endMs ?? nowMs;
  const segments: Segment[] = [];
  const add = (kind: SegmentKind, from: number, to: number, leg?: LegTrace): void => {
    if (to <= from) return;
    const called = leg === undefined ? {} : { replica: leg.replica, leg: leg.leg };
    segments.push({ kind, from: rounded(from), to: rounded(to), ...called });
  };
  let cursor = 0;
  let prefilled = false;
  for (const leg of trace.legs.slice(-mostLegs)) {
    add(prefilled && leg.leg === "decode" ? "handoff" : "queue", cursor, leg.sentMs);
    const answered = leg.answeredMs ?? leg.endMs ?? end;
    const legEnd = leg.endMs ?? end;
    if (leg.failure !== undefined) {
      add("failed", leg.sentMs, Math.max(answered, legEnd), leg);
    } else if (leg.leg === "prefill") {
      add("prefill", leg.sentMs, answered, leg);
    } else {
      add("firstToken", leg.sentMs, answered, leg);
      add("stream", answered, legEnd, leg);
    }
    prefilled = leg.leg === "prefill" && leg.failure === undefined && leg.answeredMs !== undefined;
    cursor = Math.max(cursor, leg.leg === "prefill" ? answered : legEnd);
  }
  // A request without a call waits; one whose prefill has answered is on its way to decode.
  if (trace.endMs === undefined || trace.legs.length === 0) {
    add(prefilled ? "handoff" : "queue", cursor, end);
  }
  return segments;
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
