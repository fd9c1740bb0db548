import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import type { EngineHttpRequest } from "../replicas/endpoint-client.ts";
import type { ReplicaLease } from "../replicas/replica.ts";
import type { AnsweringOptions } from "./answering-options.ts";
import { ForwardCall } from "./forward-call.ts";
import type { ForwardRequest } from "./forward-request.ts";
import type { LLMResponse } from "./llm-response.ts";
import type { LoraAdapters } from "./lora-adapters.ts";
import type { TraceRecorder } from "./trace-recorder.ts";

/** What a forwarded request is sent with. */
export interface ForwardContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly answering: AnsweringOptions;
  readonly decodeAdapters: LoraAdapters;
}

/**
 * Sends a request to the lease's replica as it came; the lease is released when the engine is done with it, however
 * that comes.
 */
export function startForward(
  request: ForwardRequest,
  lease: ReplicaLease,
  recorder: TraceRecorder,
  { clock, random, answering }: ForwardContext,
): Promise<LLMResponse> {
  const requestId = random.id();
  const trace = recorder.leg("decode", lease, requestId);
  const call = new ForwardCall({
    origin: { phase: "decode", replica: lease.replica.fullName },
    streamEnds: request.streamEnds,
    clock,
    cancel: request.cancel,
    timeouts: answering.timeouts,
    onFirstOutput: () => recorder.answered(trace),
    onSettled: (outcome, error) => {
      lease.release(outcome);
      if (error === undefined) {
        recorder.legEnded(trace);
        return;
      }
      const begun = trace.answeredMs !== undefined;
      recorder.legFailed(trace, error);
      if (begun) recorder.broke(error);
    },
  });
  const { httpMethod, path, contentType, body, forwardHeaders } = request;
  const headers = ["x-request-id", requestId, ...forwardHeaders];
  if (contentType !== undefined) headers.push("content-type", contentType);
  const engineRequest: EngineHttpRequest = {
    method: httpMethod,
    path,
    headers,
    body: body === undefined ? undefined : [body],
    phase: "decode",
  };
  return call.open(lease.replica.http, recorder.traced(engineRequest, trace));
}
