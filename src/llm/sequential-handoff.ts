import { EngineError } from "../errors/engine-error.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import { KvTransferError } from "../errors/kv-transfer-error.ts";
import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import type { KvConnector } from "../kv-transfer/kv-connector.ts";
import type { ReplicaLease } from "../replicas/replica.ts";
import type { DeploymentHandle } from "../serve/deployment-handle.ts";
import { pendingRequest } from "./answer-with-retries.ts";
import type { AnsweringOptions } from "./answering-options.ts";
import type { Attempts } from "./attempts.ts";
import { outcomeOf } from "./call-outcome.ts";
import { startDecode } from "./decode-leg.ts";
import type { DecodeOnlyReason } from "./disaggregation-decision.ts";
import { checkKvHandle } from "./kv-handle-check.ts";
import type { KvHold, KvHoldEnd, KvHolds } from "./kv-holds.ts";
import { ConnectorRequestView, legRequest } from "./leg-request.ts";
import type { LLMRequest } from "./llm-request.ts";
import type { LLMResponse } from "./llm-response.ts";
import type { ResolvedPDProxyOptions } from "./pd-proxy-options.ts";
import type { PDHealthMeter } from "./pd-health.ts";
import { callPrefill, type PrefillAnswer } from "./prefill-call.ts";
import type { TraceRecorder } from "./trace-recorder.ts";

/** What a handoff works with; the same for every request of a PDProxyServer. */
export interface HandoffContext {
  readonly prefill: DeploymentHandle;
  readonly prefillTimeoutMs: number;
  readonly answering: AnsweringOptions;
  readonly connector: KvConnector;
  readonly holds: KvHolds;
  readonly options: ResolvedPDProxyOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly health: PDHealthMeter;
}

/** What belongs to one request throughout its attempts. */
export interface RequestProgress {
  readonly attempts: Attempts;
  readonly recorder: TraceRecorder;
}

/** A finished prefill, ready to be handed over once. */
interface Prefilled {
  readonly answer: PrefillAnswer;
  /** Absent when the connector moves KV without a handle. */
  readonly hold: KvHold | undefined;
  /** Id that both legs share. */
  readonly requestId: string;
  /** Full name of the prefill replica. */
  readonly replica: string;
  readonly replicaId: string;
}

/**
 * Prefill, wait, decode: the handoff of NixlConnector and of every connector that late-binds.
 *
 * The decode slot is taken already. Between prefill's answer and decode's dispatch nothing waits for anything.
 */
export async function sequentialHandoff(
  request: LLMRequest,
  lease: ReplicaLease,
  progress: RequestProgress,
  context: HandoffContext,
): Promise<LLMResponse> {
  let prefilled = await prefillOrReason(request, lease, progress, context);
  if (typeof prefilled === "object" && prefilled.hold?.late === true) {
    prefilled.hold.end("expired");
    prefilled = await prefillOrReason(request, lease, progress, context);
    if (typeof prefilled === "object" && prefilled.hold?.late === true) {
      prefilled.hold.end("expired");
      throw new KvTransferError("lease_expired", "the KV lease ran out before decode could be sent", prefilled);
    }
  }
  if (typeof prefilled === "string") {
    context.health.decodeOnly(prefilled);
    progress.recorder.decodeOnly(prefilled);
    return decodeOnly(request, lease, progress.recorder, context);
  }
  return handOver(request, lease, prefilled, progress.recorder, context);
}

/** Decode computes the whole prompt itself. */
export function decodeOnly(
  request: LLMRequest,
  lease: ReplicaLease,
  recorder: TraceRecorder,
  context: Pick<HandoffContext, "clock" | "answering" | "random">,
): Promise<LLMResponse> {
  const { clock, answering } = context;
  return startDecode({ lease, request, requestId: context.random.id(), edits: {}, clock, answering, recorder });
}

function handOver(
  request: LLMRequest,
  lease: ReplicaLease,
  prefilled: Prefilled,
  recorder: TraceRecorder,
  context: HandoffContext,
): Promise<LLMResponse> {
  const { clock, connector, answering } = context;
  const { requestId, hold, answer } = prefilled;
  if (request.cancel.cancelled) {
    hold?.end("stranded");
    throw request.cancel.error!;
  }
  const view = new ConnectorRequestView(request, requestId);
  const edits = connector.prepareDecodeRequest(view, undefined, answer);
  context.health.handedOver(prefilled.replicaId, lease.replica.id);
  return startDecode({
    lease,
    request,
    requestId,
    edits,
    clock,
    answering,
    recorder,
    onFirstOutput: () => hold?.end("handed_off"),
    onFailure: (error) => hold?.end(endAfterFailure(error)),
  });
}

/** What became of the blocks when decode failed before its first token. */
function endAfterFailure(error: unknown): KvHoldEnd {
  // vLLM tells prefill to free the blocks of a request that decode refuses, ends, or whose client leaves. Only a
  // decode engine that is gone can't.
  return error instanceof EngineConnectionError ? "stranded" : "released";
}

/** Prefills, on another replica when one fails, and gives up with the reason for which decode goes alone. */
async function prefillOrReason(
  request: LLMRequest,
  decodeLease: ReplicaLease,
  progress: RequestProgress,
  context: HandoffContext,
): Promise<Prefilled | DecodeOnlyReason> {
  const { attempts, recorder } = progress;
  const { prefill, options, clock } = context;
  const pairGroup = decodeLease.replica.pairGroup;
  const failed = new Set<string>();
  let kvRetried = false;
  for (;;) {
    if (!prefill.hasReplicaFor({ pairGroup })) return "no_prefill";
    const acquired = prefill.acquire(pendingRequest(request, failed.size, failed), request.cancel, {
      avoid: failed,
      pairGroup,
      priority: request.priority,
    });
    const lease = acquired instanceof Promise ? await acquired : acquired;
    try {
      return await prefillOn(lease, request, recorder, context);
    } catch (error) {
      lease.release(error instanceof KvTransferError ? "success" : outcomeOf(error));
      if (request.cancel.cancelled || !(error instanceof EngineError)) throw error;
      failed.add(lease.replica.id);
      if (error instanceof KvTransferError) {
        const verdict = afterMissingKv(error, options.onMissingKv, kvRetried);
        if (verdict === "fail") throw error;
        if (verdict !== "retry") return verdict;
        kvRetried = true;
        recorder.trace.retries += 1;
      } else if (attempts.mayRetry(error, prefill.hasReplicaBeside(failed))) {
        recorder.trace.retries += 1;
        await attempts.pause(error, clock, request.cancel);
      } else if (mayGoAlone(error, options)) {
        return "prefill_failed";
      } else {
        throw error;
      }
    }
  }
}

async function prefillOn(
  lease: ReplicaLease,
  request: LLMRequest,
  recorder: TraceRecorder,
  context: HandoffContext,
): Promise<Prefilled | DecodeOnlyReason> {
  const { connector, clock, options, holds, prefillTimeoutMs } = context;
  const { replica } = lease;
  const requestId = context.random.id();
  const edits = connector.preparePrefillRequest(new ConnectorRequestView(request, requestId), undefined);
  const engineRequest = legRequest(request, requestId, edits, "prefill");
  const trace = recorder.leg("prefill", lease, requestId);
  try {
    const answer = await callPrefill(replica, engineRequest, { clock, cancel: request.cancel, prefillTimeoutMs });
    recorder.answered(trace);
    const handle = answer.kvTransferParams;
    if (handle === undefined && connector.requiresHandle && answer.finishReason === "stop") {
      lease.release("success");
      return "first_token_stop";
    }
    const checked = checkKvHandle(handle, connector, replica, options.kvHostAllowlist);
    const hold = checked === undefined ? undefined : holds.open(replica);
    if (checked?.engineId !== undefined) replica.engineId = checked.engineId;
    lease.release("success");
    return { answer, hold, requestId, replica: replica.fullName, replicaId: replica.id };
  } catch (error) {
    recorder.legFailed(trace, error);
    throw error;
  }
}

function afterMissingKv(
  error: KvTransferError,
  policy: ResolvedPDProxyOptions["onMissingKv"],
  retried: boolean,
): "retry" | "fail" | DecodeOnlyReason {
  // A handle that points somewhere forbidden is an attack or a mistake, never something to work around.
  if (policy === "fail" || error.fault === "host_not_allowed") return "fail";
  return policy === "retry" && !retried ? "retry" : "missing_kv";
}

function mayGoAlone(error: EngineError, options: ResolvedPDProxyOptions): boolean {
  if (options.onPrefillFailure === "fail") return false;
  return error instanceof EngineConnectionError || !(error instanceof EngineResponseError && error.isClientFault);
}
