import type { LegTrace, RequestTrace } from "../observability/request-trace.ts";

/** A call to `p0` or `d0`, answered and over unless `more` says otherwise. */
export function legTrace(leg: LegTrace["leg"], more: Partial<LegTrace> = {}): LegTrace {
  return {
    leg,
    deployment: leg === "prefill" ? "Prefill:m" : "Decode:m",
    replica: leg === "prefill" ? "p0" : "d0",
    publicName: leg,
    engineRequestId: "engine-id",
    choice: undefined,
    sentMs: 0,
    answeredMs: undefined,
    endMs: undefined,
    failure: undefined,
    clientFault: false,
    ...more,
  };
}

/** A streamed request that went well: prefill 5 to 25 ms, decode from 27 ms, first token at 40, end at 100. */
export function requestTrace(more: Partial<RequestTrace> = {}): RequestTrace {
  return {
    requestId: "request-1",
    deployment: "PDProxyServer",
    model: "m",
    method: "chat",
    stream: true,
    startedWallMs: 1_000_000,
    mode: "pd",
    reason: undefined,
    leasedMs: 5,
    firstTokenMs: 40,
    endMs: 100,
    retries: 0,
    retryCauses: [],
    legs: [
      legTrace("prefill", { sentMs: 5, answeredMs: 25, endMs: 25 }),
      legTrace("decode", { sentMs: 27, answeredMs: 40, endMs: 100 }),
    ],
    events: 7,
    usage: { promptTokens: 10, completionTokens: 7, cachedTokens: undefined },
    outcome: "success",
    errorCode: undefined,
    ...more,
  };
}
