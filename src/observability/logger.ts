import { phasesOf } from "./request-phases.ts";
import type { RequestTrace } from "./request-trace.ts";

/** Where this library logs, when it is given one: pino, `console` and everything of their shape. */
export interface Logger {
  debug?(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What is logged. */
export interface LoggerOptions {
  /** One line for each request that is over, with its phases. @default false */
  readonly requests?: boolean | undefined;
}

/** One finished request, flat, times in whole microseconds' precision. No prompt, no answer, no header, no URL. */
export interface RequestLogLine {
  readonly requestId: string;
  readonly deployment: string;
  readonly model: string;
  readonly method: string;
  readonly stream: boolean;
  readonly mode: RequestTrace["mode"];
  readonly reason: string | undefined;
  readonly outcome: RequestTrace["outcome"];
  readonly errorCode: string | undefined;
  readonly retries: number;
  /** Replica of the last prefill that was tried. */
  readonly prefill: string | undefined;
  /** Replica of the last decode that was tried. */
  readonly decode: string | undefined;
  readonly promptTokens: number | undefined;
  readonly completionTokens: number | undefined;
  readonly queueMs: number | undefined;
  readonly prefillMs: number | undefined;
  readonly handoffMs: number | undefined;
  readonly decodeFirstTokenMs: number | undefined;
  readonly timeToFirstTokenMs: number | undefined;
  readonly interTokenMs: number | undefined;
  readonly totalMs: number | undefined;
}

/**
 * Logs one request: `info` for what went well or was called off by its client, `error` for what is this library's own
 * fault, `warn` for every other failure.
 */
export function logRequest(logger: Logger, trace: RequestTrace): void {
  const line = requestLogLine(trace);
  if (trace.outcome === "success" || trace.outcome === "cancelled") logger.info(line, "request");
  else if (trace.errorCode === "internal_error") logger.error(line, "request");
  else logger.warn(line, "request");
}

/** @internal */
export function requestLogLine(trace: RequestTrace): RequestLogLine {
  const { requestId, deployment, model, method, stream, mode, reason, outcome, errorCode, retries } = trace;
  const phases = phasesOf(trace);
  return {
    requestId,
    deployment,
    model: printable(model),
    method,
    stream,
    mode,
    reason,
    outcome,
    errorCode,
    retries,
    prefill: trace.legs.findLast(({ leg }) => leg === "prefill")?.replica,
    decode: trace.legs.findLast(({ leg }) => leg === "decode")?.replica,
    promptTokens: trace.usage?.promptTokens,
    completionTokens: trace.usage?.completionTokens,
    queueMs: rounded(phases.queueMs),
    prefillMs: rounded(phases.prefillMs),
    handoffMs: rounded(phases.handoffMs),
    decodeFirstTokenMs: rounded(phases.decodeFirstTokenMs),
    timeToFirstTokenMs: rounded(phases.timeToFirstTokenMs),
    interTokenMs: rounded(phases.interTokenMs),
    totalMs: rounded(phases.totalMs),
  };
}

/** What clients name must not forge lines of a log. */
function printable(text: string): string {
  return text.slice(0, 200).replaceAll(/[\p{Cc}\u2028\u2029]/gu, "_");
}

function rounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms * 1000) / 1000;
}
