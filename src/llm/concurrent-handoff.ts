import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import { KvTransferError } from "../errors/kv-transfer-error.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { ServeLLMError } from "../errors/serve-llm-error.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import type { Timer } from "../internal/clock.ts";
import type { EngineHttpRequest } from "../replicas/endpoint-client.ts";
import type { CallOutcome } from "../replicas/replica-health.ts";
import type { ReplicaLease } from "../replicas/replica.ts";
import { withAdapterName } from "./adapter-id.ts";
import { outcomeOf } from "./call-outcome.ts";
import { startDecode } from "./decode-leg.ts";
import type { DecodeOnlyReason } from "./disaggregation-decision.ts";
import type { HandoffContext, RequestProgress } from "./handoff-context.ts";
import type { KvHold } from "./kv-holds.ts";
import { ConnectorRequestView, legRequest } from "./leg-request.ts";
import type { LLMRequest } from "./llm-request.ts";
import type { LLMResponse } from "./llm-response.ts";
import { bindPeers } from "./peer-directory.ts";
import { onSomePrefill } from "./prefill-attempts.ts";
import { callPrefill } from "./prefill-call.ts";
import { decodeAfter } from "./sequential-handoff.ts";
import type { PromptDetails } from "./prompt-usage.ts";
import type { TraceRecorder } from "./trace-recorder.ts";

/** How long prefill may go on once decode has answered in full. It has nothing to do any more but say so. */
const latePrefillMs = 1_000;

/**
 * Both legs at once: the handoff of connectors with which prefill pushes KV, or decode fetches it, while the other
 * one already waits (Mooncake, MoRIIO WRITE).
 *
 * Each leg's failure stops the other at once. Before the first token a failing prefill is tried again, both legs with
 * a fresh id, in the decode slot that is there; afterwards it ends the stream as an error. Ray only logs that.
 */
export async function concurrentHandoff(
  request: LLMRequest,
  lease: ReplicaLease,
  progress: RequestProgress,
  context: HandoffContext,
): Promise<LLMResponse> {
  const answer = await onSomePrefill(request, lease, progress, context, (prefillLease) =>
    runBothLegs(request, prefillLease, lease, progress.recorder, context),
  );
  return typeof answer === "string"
    ? decodeAfter(answer, request, lease, progress.recorder, context)
    : answer;
}

async function runBothLegs(
  request: LLMRequest,
  prefillLease: ReplicaLease,
  decodeLease: ReplicaLease,
  recorder: TraceRecorder,
  context: HandoffContext,
): Promise<LLMResponse | DecodeOnlyReason> {
  const { connector, clock, answering, peers, holds, health } = context;
  const requestId = context.random.id();
  const bound = bindPeers(peers, prefillLease.replica, decodeLease.replica, request.cancel);
  const binding = bound instanceof Promise ? await bound : bound;
  request.cancel.throwIfCancelled();
  const view = new ConnectorRequestView(request, requestId, binding.decode);
  const adapterId = context.prefillAdapters.idOf(request);
  const prefillEdits = withAdapterName(
    connector.preparePrefillRequest(view, binding.prefill),
    adapterId,
    prefillLease.replica,
  );
  const edits = withAdapterName(
    connector.prepareDecodeRequest(view, binding.prefill, undefined),
    adapterId,
    decodeLease.replica,
  );
  const hold = holds.open(prefillLease.replica);
  const prefill = new PrefillLeg(request, prefillLease, recorder, context);
  const cancel = linkedTo(request.cancel);
  prefill.onFailure = (error) => cancel.token.cancel(error);
  prefill.send(requestId, legRequest(request, requestId, prefillEdits, "prefill"));
  try {
    return await startDecode({
      lease: decodeLease,
      request,
      requestId,
      edits,
      clock,
      answering,
      recorder,
      cancel: cancel.token,
      promptDetails: () => prefill.promptDetails,
      onFirstOutput: () => {
        prefill.decodeBegan = true;
        hold.end("handed_off");
        health.handedOver(prefillLease.replica.id, decodeLease.replica.id);
      },
      onFailure: (error) => endHold(hold, error, prefill),
      onEnd: (error) => {
        cancel.stop();
        if (error !== undefined && outcomeOf(error) === "failure") peers?.forget(prefillLease.replica);
        prefill.decodeEnded(error);
      },
    });
  } catch (error) {
    if (prefill.endedAtOnce) return "first_token_stop";
    throw error;
  }
}

/** Blocks of a prefill that ran to its end stay pinned if the decode engine is gone; else the engines free them. */
function endHold(hold: KvHold, error: ServeLLMError, prefill: PrefillLeg): void {
  hold.end(prefill.succeeded && error instanceof EngineConnectionError ? "stranded" : "released");
}

/** The prefill leg beside a running decode. Its lease is released when its engine is done, however that comes. */
class PrefillLeg {
  readonly #request: LLMRequest;
  readonly #lease: ReplicaLease;
  readonly #recorder: TraceRecorder;
  readonly #context: HandoffContext;
  /** Told of a failure that decode must not outlive. */
  onFailure: (error: ServeLLMError) => void = () => {};
  /** Decode has produced a token, so that it has the KV. */
  decodeBegan = false;
  /** The answer is here. */
  succeeded = false;
  /** What it said of the prompt. */
  promptDetails: PromptDetails;
  /** Its first token ended the answer, upon which the engine dropped the KV that decode waits for. */
  endedAtOnce = false;
  #cancel = linkedTo(undefined);
  #lastWord: Timer | undefined;
  #over = false;

  constructor(request: LLMRequest, lease: ReplicaLease, recorder: TraceRecorder, context: HandoffContext) {
    this.#request = request;
    this.#lease = lease;
    this.#recorder = recorder;
    this.#context = context;
  }

  /** Sends it; what comes of it is told to {@link onFailure}, never thrown. */
  send(requestId: string, engineRequest: EngineHttpRequest): void {
    const { clock, prefillTimeoutMs } = this.#context;
    this.#cancel = linkedTo(this.#request.cancel);
    const trace = this.#recorder.leg("prefill", this.#lease, requestId);
    const cancel = this.#cancel.token;
    callPrefill(this.#lease.replica, this.#recorder.traced(engineRequest, trace), {
      clock,
      cancel,
      prefillTimeoutMs,
    }).then(
      ({ finishReason, promptDetails }) => {
        this.promptDetails = promptDetails;
        this.#settle("success");
        this.#recorder.answered(trace);
        this.succeeded = true;
        if (finishReason !== "stop" || this.decodeBegan) return;
        this.endedAtOnce = true;
        this.onFailure(keptNothing(this.#lease));
      },
      (error: unknown) => {
        const stopped = cancel.cancelled;
        this.#settle(stopped ? "neutral" : outcomeOf(error));
        this.#recorder.legFailed(trace, error);
        if (stopped) return;
        this.#context.peers?.forget(this.#lease.replica);
        this.onFailure(ServeLLMError.isInstance(error) ? error : unexpected(error));
      },
    );
  }

  /** Nobody needs it any more. After a success it may say its last word; after a failure it is stopped at once. */
  decodeEnded(error: ServeLLMError | undefined): void {
    if (this.#over) return;
    if (error !== undefined) {
      this.#cancel.token.cancel(error);
      this.#settle("neutral");
      return;
    }
    // The client has its whole answer: that its request ends now is no reason to cut this short.
    this.#cancel.stop();
    this.onFailure = () => {};
    const token = this.#cancel.token;
    const stop = new RequestCancelledError("decode had answered without it");
    this.#lastWord = this.#context.clock.setTimer(() => token.cancel(stop), latePrefillMs);
  }

  #settle(outcome: CallOutcome): void {
    this.#over = true;
    this.#lastWord?.cancel();
    this.#cancel.stop();
    this.#lease.release(outcome);
  }
}

function keptNothing({ replica }: ReplicaLease): KvTransferError {
  return new KvTransferError("missing", "prefill's first token ended the answer, and its KV was dropped", {
    replica: replica.fullName,
  });
}

function unexpected(cause: unknown): ServeLLMError {
  return new ServeLLMError("The prefill leg failed.", {
    code: "internal_error",
    status: 500,
    type: "internal_error",
    cause,
  });
}

/** A token that is cancelled with another one, until told to stop following it. */
function linkedTo(parent: CancelToken | undefined): { readonly token: CancelToken; stop(): void } {
  const token = new CancelToken();
  return { token, stop: parent?.onCancel((error) => token.cancel(error)) ?? (() => {}) };
}
