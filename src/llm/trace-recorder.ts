import { EngineResponseError } from "../errors/engine-response-error.ts";
import { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { Clock } from "../internal/clock.ts";
import {
  publishLegEnd,
  publishLegStart,
  publishRequest,
  publishRequestStart,
} from "../observability/channels.ts";
import type { LegTrace, RequestTrace } from "../observability/request-trace.ts";
import { tokenUsageOf } from "../observability/token-usage.ts";
import type { EngineHttpRequest } from "../replicas/endpoint-client.ts";
import type { ReplicaLease } from "../replicas/replica.ts";
import type { DeploymentContext } from "../serve/deployment-context.ts";
import type { DecodeOnlyReason } from "./disaggregation-decision.ts";
import type { ModelRequest } from "./forward-request.ts";

/** Writes the story of one request while it happens, and hands it out when the request is over. */
export class TraceRecorder {
  readonly trace: RequestTrace;
  readonly #clock: Clock;
  readonly #began: number;
  #legHeaders: Map<LegTrace, ReadonlyMap<string, string>> | undefined;

  constructor(
    request: ModelRequest,
    context: Pick<DeploymentContext, "name" | "clock" | "observe" | "observeStart">,
    mode: RequestTrace["mode"],
  ) {
    const { clock } = context;
    this.#clock = clock;
    this.#began = clock.now();
    this.trace = {
      requestId: request.requestId,
      deployment: context.name,
      model: request.modelId,
      method: request.method,
      stream: request.stream,
      startedWallMs: clock.wallNow(),
      mode,
      reason: undefined,
      leasedMs: undefined,
      firstTokenMs: undefined,
      endMs: undefined,
      retries: 0,
      retryCauses: [],
      legs: [],
      events: undefined,
      usage: undefined,
      outcome: undefined,
      errorCode: undefined,
    };
    request.onTrace?.(this.trace);
    context.observeStart?.(this.trace);
    publishRequestStart(this.trace, request.forwardHeaders, (name) =>
      request.method === "forward" ? undefined : request.body.value(name),
    );
    request.cancel.onEnd(() => {
      const { trace } = this;
      trace.outcome ??= request.cancel.cancelled ? "cancelled" : "success";
      if (trace.outcome === "cancelled") trace.errorCode ??= codeOf(request.cancel.error);
      // An engine may close its stream a moment after the answer is whole.
      const endMs = this.#elapsed();
      for (const leg of trace.legs) this.#endLeg(leg, endMs);
      trace.endMs = endMs;
      context.observe(trace);
      publishRequest(trace);
    });
  }

  leased(): void {
    this.trace.leasedMs ??= this.#elapsed();
  }

  decodeOnly(reason: DecodeOnlyReason): void {
    this.trace.mode = "decode-only";
    this.trace.reason = reason;
  }

  /** The request is tried again, because a leg failed. */
  retried(leg: LegTrace["leg"], error: unknown): void {
    this.trace.retries += 1;
    this.trace.retryCauses.push({ leg, errorCode: codeOf(error) });
  }

  /** A leg is about to be sent. */
  leg(leg: LegTrace["leg"], lease: ReplicaLease, engineRequestId: string): LegTrace {
    const { replica, choice } = lease;
    const entry: LegTrace = {
      leg,
      deployment: replica.deployment,
      replica: replica.id,
      publicName: replica.publicName,
      engineRequestId,
      choice,
      sentMs: this.#elapsed(),
      answeredMs: undefined,
      endMs: undefined,
      failure: undefined,
      clientFault: false,
    };
    this.trace.legs.push(entry);
    const headers = publishLegStart(this.trace, entry);
    if (headers !== undefined) (this.#legHeaders ??= new Map()).set(entry, headers);
    return entry;
  }

  /** The request of a leg with the trace context of that leg, where somebody traces; else the client's own stays. */
  traced(request: EngineHttpRequest, leg: LegTrace): EngineHttpRequest {
    const own = this.#legHeaders?.get(leg);
    return own === undefined ? request : { ...request, headers: withHeaders(request.headers, own) };
  }

  /** A leg has answered: prefill with all it has, decode with its first token. */
  answered(entry: LegTrace): void {
    entry.answeredMs = this.#elapsed();
    if (entry.leg === "decode") this.trace.firstTokenMs = entry.answeredMs;
    else this.#endLeg(entry, entry.answeredMs);
  }

  /** The engine is done with a decode leg, and nothing went wrong. */
  legEnded(entry: LegTrace): void {
    this.#endLeg(entry, this.#elapsed());
  }

  legFailed(entry: LegTrace, error: unknown): void {
    const now = this.#elapsed();
    entry.answeredMs ??= now;
    entry.failure = codeOf(error);
    entry.clientFault = error instanceof EngineResponseError && error.isClientFault;
    this.#endLeg(entry, now);
  }

  /** What the engine sent of its answer. */
  produced({ events, usage }: { readonly events: number; readonly usage: unknown }): void {
    this.trace.events = this.trace.stream ? events : undefined;
    this.trace.usage = tokenUsageOf(usage);
  }

  /** The request ends with an error instead of an answer. */
  failed(error: unknown): void {
    this.trace.errorCode = codeOf(error);
    this.trace.outcome = this.trace.errorCode === "client_closed_request" ? "cancelled" : "failed";
  }

  /** The answer broke off. */
  broke(error: unknown): void {
    this.trace.errorCode = codeOf(error);
    this.trace.outcome = this.trace.errorCode === "client_closed_request" ? "cancelled" : "broken";
  }

  #endLeg(entry: LegTrace, nowMs: number): void {
    if (entry.endMs !== undefined) return;
    entry.endMs = nowMs;
    publishLegEnd(this.trace, entry);
  }

  #elapsed(): number {
    return this.#clock.now() - this.#began;
  }
}

/** Flat headers with some of them replaced or added. */
function withHeaders(headers: readonly string[], own: ReadonlyMap<string, string>): readonly string[] {
  const kept: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    if (!own.has(headers[index]!)) kept.push(headers[index]!, headers[index + 1]!);
  }
  for (const [name, value] of own) kept.push(name, value);
  return kept;
}

function codeOf(error: unknown): string {
  return ServeLLMError.isInstance(error) ? error.code : "internal_error";
}
