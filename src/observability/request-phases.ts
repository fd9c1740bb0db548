import type { LegTrace, RequestTrace } from "./request-trace.ts";

/** How long each step of a request took, in milliseconds; undefined for a step that it did not come to. */
export interface RequestPhases {
  /** Waiting for slots, of prefill and decode together. */
  readonly queueMs: number;
  /** The prefill that was used: from sending it to its answer. */
  readonly prefillMs: number | undefined;
  /** From prefill's answer to sending the request to decode; 0 when both were sent at once. */
  readonly handoffMs: number | undefined;
  /** From sending the request to decode to its first token (to its whole answer, when that is not a stream). */
  readonly decodeFirstTokenMs: number | undefined;
  /** From the request's arrival to the first token. Only of streams. */
  readonly timeToFirstTokenMs: number | undefined;
  /**
   * Mean time between two tokens after the first. Only of streams that were not broken off. From the engine's count of
   * tokens; without one, events are taken for tokens.
   */
  readonly interTokenMs: number | undefined;
  /** From arrival to the end of the answer's delivery. */
  readonly totalMs: number;
}

/** The steps of a request that is over. */
export function phasesOf(trace: RequestTrace): RequestPhases {
  const decode =
    trace.legs.findLast(({ leg, failure }) => leg === "decode" && failure === undefined) ?? lastDecode(trace);
  const prefill =
    trace.mode === "pd"
      ? trace.legs.findLast(
          ({ leg, failure, answeredMs }) =>
            leg === "prefill" && failure === undefined && answeredMs !== undefined,
        )
      : undefined;
  const firstToken = decode?.answeredMs !== undefined && trace.firstTokenMs !== undefined;
  return {
    queueMs: trace.legs.length === 0 ? (trace.leasedMs ?? trace.endMs ?? 0) : queuedMs(trace),
    prefillMs: prefill === undefined ? undefined : prefill.answeredMs! - prefill.sentMs,
    handoffMs:
      prefill === undefined || decode === undefined
        ? undefined
        : Math.max(0, decode.sentMs - prefill.answeredMs!),
    decodeFirstTokenMs: firstToken ? decode.answeredMs! - decode.sentMs : undefined,
    timeToFirstTokenMs: trace.stream ? trace.firstTokenMs : undefined,
    interTokenMs: interTokenMs(trace, decode),
    totalMs: trace.endMs ?? 0,
  };
}

function lastDecode({ legs }: RequestTrace): LegTrace | undefined {
  return legs.findLast(({ leg }) => leg === "decode");
}

function queuedMs({ legs }: RequestTrace): number {
  let total = 0;
  let decodeChoice: LegTrace["choice"];
  for (const { leg, choice } of legs) {
    // A slot of decode is kept while prefill is tried again.
    if (choice === undefined || choice === decodeChoice) continue;
    if (leg === "decode") decodeChoice = choice;
    total += choice.queuedMs;
  }
  return total;
}

function interTokenMs(trace: RequestTrace, decode: LegTrace | undefined): number | undefined {
  if (!trace.stream || trace.outcome !== "success" || decode?.endMs === undefined) return undefined;
  const tokens = trace.usage?.completionTokens ?? trace.events ?? 0;
  if (tokens < 2 || decode.answeredMs === undefined) return undefined;
  return (decode.endMs - decode.answeredMs) / (tokens - 1);
}
