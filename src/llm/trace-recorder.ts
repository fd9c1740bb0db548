import { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { Clock } from "../internal/clock.ts";
import { publishRequest } from "../observability/channels.ts";
import type { LegTrace, RequestTrace } from "../observability/request-trace.ts";
import type { ReplicaLease } from "../replicas/replica.ts";
import type { DecodeOnlyReason } from "./disaggregation-decision.ts";
import type { ModelRequest } from "./forward-request.ts";

/** Writes the story of one request while it happens, and publishes it when the request is over. */
export class TraceRecorder {
  readonly trace: RequestTrace;
  readonly #clock: Clock;
  readonly #began: number;

  constructor(request: ModelRequest, deployment: string, mode: RequestTrace["mode"], clock: Clock) {
    this.#clock = clock;
    this.#began = clock.now();
    this.trace = {
      requestId: request.requestId,
      deployment,
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
      legs: [],
      outcome: undefined,
      errorCode: undefined,
    };
    request.cancel.onEnd(() => {
      const { trace } = this;
      trace.endMs = this.#elapsed();
      trace.outcome ??= request.cancel.cancelled ? "cancelled" : "success";
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

  /** A leg was sent. */
  leg(leg: LegTrace["leg"], lease: ReplicaLease, engineRequestId: string): LegTrace {
    const entry: LegTrace = {
      leg,
      replica: lease.replica.id,
      engineRequestId,
      sentMs: this.#elapsed(),
      answeredMs: undefined,
      failure: undefined,
    };
    this.trace.legs.push(entry);
    return entry;
  }

  answered(entry: LegTrace): void {
    entry.answeredMs = this.#elapsed();
    if (entry.leg === "decode") this.trace.firstTokenMs = entry.answeredMs;
  }

  legFailed(entry: LegTrace, error: unknown): void {
    entry.answeredMs ??= this.#elapsed();
    entry.failure = codeOf(error);
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

  #elapsed(): number {
    return this.#clock.now() - this.#began;
  }
}

function codeOf(error: unknown): string {
  return ServeLLMError.isInstance(error) ? error.code : "internal_error";
}
