import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import type { RequestEdits } from "../kv-transfer/kv-connector.ts";
import type { ReplicaLease } from "../replicas/replica.ts";
import type { AnsweringOptions } from "./answering-options.ts";
import { DecodeCall } from "./decode-call.ts";
import { legRequest } from "./leg-request.ts";
import type { LLMRequest } from "./llm-request.ts";
import type { LLMResponse } from "./llm-response.ts";
import { correctedCounts, type PromptDetails } from "./prompt-usage.ts";
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
  /** Stops this leg when prefill, running beside it, failed; follows the request's token. @default that token */
  readonly cancel?: CancelToken | undefined;
  /** What prefill said of the prompt, as far as it has; left out when decode computes the prompt itself. */
  readonly promptDetails?: (() => PromptDetails) | undefined;
  /** The engine's first token is here. */
  readonly onFirstOutput?: (() => void) | undefined;
  /** The engine failed before its first token. `sent` is false when it can't have seen the request. */
  readonly onFailure?: ((error: ServeLLMError, sent: boolean) => void) | undefined;
  /** The engine is done with this leg, however it went; called last. */
  readonly onEnd?: ((error: ServeLLMError | undefined) => void) | undefined;
}

/**
 * Sends the request; the lease is released when the engine is done with it, however that comes. Only when prefill,
 * running beside it, failed before the first token is the lease kept: its slot is good for another try.
 */
export function startDecode(leg: DecodeLeg): Promise<LLMResponse> {
  const { lease, request, clock, answering, recorder } = leg;
  const trace = recorder.leg("decode", lease, leg.requestId);
  const call = new DecodeCall({
    origin: { phase: "decode", replica: lease.replica.fullName },
    stream: request.stream,
    expectedChoices: request.expectedChoices,
    clock,
    cancel: leg.cancel ?? request.cancel,
    timeouts: answering.timeouts,
    promptDetails: leg.promptDetails,
    onFirstOutput: () => {
      recorder.answered(trace);
      leg.onFirstOutput?.();
    },
    onSettled: (outcome, error) => {
      const { events, usage } = call.produced;
      const { promptDetails } = leg;
      recorder.produced({
        events,
        usage: promptDetails === undefined ? usage : correctedCounts(usage, promptDetails()),
      });
      const begun = trace.answeredMs !== undefined;
      const byPrefill = error !== undefined && error === leg.cancel?.error && error !== request.cancel.error;
      if (!byPrefill) lease.release(outcome);
      else if (begun) lease.release("neutral");
      if (error !== undefined) {
        recorder.legFailed(trace, error);
        if (begun) recorder.broke(error);
        else leg.onFailure?.(error, call.sent);
      } else {
        recorder.legEnded(trace);
      }
      leg.onEnd?.(error);
    },
  });
  const opened = call.open(
    lease.replica.http,
    recorder.traced(legRequest(request, leg.requestId, leg.edits, "decode"), trace),
  );
  const interval = answering.streamBatchingIntervalMs;
  if (interval === 0) return opened;
  return opened.then((response) =>
    response.kind === "complete"
      ? response
      : { kind: "stream", source: batchedSource(response.source, interval, clock) },
  );
}
