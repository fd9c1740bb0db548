import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { Clock } from "../internal/clock.ts";
import type { RequestEdits } from "../kv-transfer/kv-connector.ts";
import type { ReplicaLease } from "../replicas/replica.ts";
import type { AnsweringOptions } from "./answering-options.ts";
import { DecodeCall } from "./decode-call.ts";
import { legRequest } from "./leg-request.ts";
import type { LLMRequest } from "./llm-request.ts";
import type { LLMResponse } from "./llm-response.ts";
import { batchedSource } from "./stream-batching.ts";
import type { TraceRecorder } from "./trace-recorder.ts";

/** One call to the engine that answers the client. */
export interface DecodeLeg {
  readonly lease: ReplicaLease;
  readonly request: LLMRequest;
  /** Id the engine knows this attempt by. */
  readonly requestId: string;
  readonly edits: RequestEdits;
  readonly clock: Clock;
  readonly answering: AnsweringOptions;
  readonly recorder: TraceRecorder;
  /** The engine's first token is here. */
  readonly onFirstOutput?: (() => void) | undefined;
  /** The engine failed before its first token. */
  readonly onFailure?: ((error: ServeLLMError) => void) | undefined;
}

/** Sends the request; the lease is released when the engine is done with it, however that comes. */
export async function startDecode(leg: DecodeLeg): Promise<LLMResponse> {
  const { lease, request, clock, answering, recorder } = leg;
  const trace = recorder.leg("decode", lease, leg.requestId);
  const call = new DecodeCall({
    origin: { phase: "decode", replica: lease.replica.fullName },
    stream: request.stream,
    expectedChoices: request.expectedChoices,
    clock,
    cancel: request.cancel,
    timeouts: answering.timeouts,
    onFirstOutput: () => {
      recorder.answered(trace);
      leg.onFirstOutput?.();
    },
    onSettled: (outcome, error) => {
      lease.release(outcome);
      if (error === undefined) return;
      const begun = trace.answeredMs !== undefined;
      recorder.legFailed(trace, error);
      if (begun) recorder.broke(error);
      else leg.onFailure?.(error);
    },
  });
  const response = await call.open(
    lease.replica.http,
    legRequest(request, leg.requestId, leg.edits, "decode"),
  );
  const interval = answering.streamBatchingIntervalMs;
  if (response.kind === "complete" || interval === 0) return response;
  return { kind: "stream", source: batchedSource(response.source, interval, clock) };
}
