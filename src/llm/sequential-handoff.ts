import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import { KvTransferError } from "../errors/kv-transfer-error.ts";
import type { RequestEdits } from "../kv-transfer/kv-connector.ts";
import { askForTokenIds, passTokenIds } from "../kv-transfer/tokenize-once.ts";
import type { RawJson } from "../protocol/raw-json.ts";
import type { ReplicaLease } from "../replicas/replica.ts";
import { withAdapterName } from "./adapter-id.ts";
import { startDecode } from "./decode-leg.ts";
import type { DecodeOnlyReason } from "./disaggregation-decision.ts";
import type { HandoffContext, RequestProgress } from "./handoff-context.ts";
import { type CheckedHandle, checkKvHandle } from "./kv-handle-check.ts";
import type { KvHold, KvHoldEnd } from "./kv-holds.ts";
import { ConnectorRequestView, legRequest } from "./leg-request.ts";
import type { LLMRequest } from "./llm-request.ts";
import type { LLMResponse } from "./llm-response.ts";
import { bindPeers, type PeerBinding } from "./peer-directory.ts";
import type { PrefillAnswer } from "./prefill-answer.ts";
import { onSomePrefill } from "./prefill-attempts.ts";
import { callPrefill } from "./prefill-call.ts";
import type { TraceRecorder } from "./trace-recorder.ts";

/** A finished prefill, ready to be handed over once. */
interface Prefilled {
  readonly answer: PrefillAnswer;
  /** Absent when the connector moves KV without a handle. */
  readonly hold: KvHold | undefined;
  /** Id that both legs share. */
  readonly requestId: string;
  readonly binding: PeerBinding;
  /** Full name of the prefill replica. */
  readonly replica: string;
  readonly replicaId: string;
  readonly pairGroup: string | undefined;
}

/**
 * Prefill, wait, decode: the handoff of NixlConnector and of every connector that moves KV after prefill has
 * answered, whether the two legs need each other's addresses (MoRIIO READ, P2pNccl) or not.
 *
 * The decode slot is taken already. Between prefill's answer and decode's dispatch nothing waits for anything.
 */
export async function sequentialHandoff(
  request: LLMRequest,
  lease: ReplicaLease,
  progress: RequestProgress,
  context: HandoffContext,
): Promise<LLMResponse> {
  const prefill = (): Promise<Prefilled | DecodeOnlyReason> =>
    onSomePrefill(request, lease, progress, context, (prefillLease) =>
      prefillOn(prefillLease, request, lease, progress, context),
    );
  let prefilled = await prefill();
  if (typeof prefilled === "object" && prefilled.hold?.late === true) {
    prefilled.hold.end("expired");
    prefilled = await prefill();
    if (typeof prefilled === "object" && prefilled.hold?.late === true) {
      prefilled.hold.end("expired");
      throw new KvTransferError(
        "lease_expired",
        "the KV lease ran out before decode could be sent",
        prefilled,
      );
    }
  }
  if (typeof prefilled === "string")
    return await decodeAfter(prefilled, request, lease, progress.recorder, context);
  // Handed on unawaited, a promise takes two turns of the queue more.
  return await handOver(request, lease, prefilled, progress, context);
}

/** Decode computes the whole prompt itself. */
export function decodeOnly(
  request: LLMRequest,
  lease: ReplicaLease,
  recorder: TraceRecorder,
  context: Pick<HandoffContext, "clock" | "answering" | "random" | "decodeAdapters">,
): Promise<LLMResponse> {
  const { clock, answering, decodeAdapters } = context;
  const edits = withAdapterName({}, decodeAdapters.idOf(request), lease.replica);
  return startDecode({ lease, request, requestId: context.random.id(), edits, clock, answering, recorder });
}

/** Decode goes alone because the handoff came to nothing. */
export function decodeAfter(
  reason: DecodeOnlyReason,
  request: LLMRequest,
  lease: ReplicaLease,
  recorder: TraceRecorder,
  context: HandoffContext,
): Promise<LLMResponse> {
  context.health.decodeOnly(reason);
  recorder.decodeOnly(reason);
  return decodeOnly(request, lease, recorder, context);
}

function handOver(
  request: LLMRequest,
  lease: ReplicaLease,
  prefilled: Prefilled,
  progress: RequestProgress,
  context: HandoffContext,
): Promise<LLMResponse> {
  const { clock, connector, answering, tokenizeOnce } = context;
  const { recorder } = progress;
  const { requestId, hold, answer, binding, pairGroup } = prefilled;
  // Of prefill's answer a stream that lasts keeps nothing else.
  const { promptDetails } = answer;
  const view = new ConnectorRequestView(request, requestId, binding.decode);
  const handle = connector.prepareDecodeRequest(view, binding.prefill, answer);
  const ids = tokenizeOnce === undefined ? undefined : answer.promptTokenIds;
  const { edits: withIds, passed } = passIds(request.method, handle, ids);
  if (passed) progress.tokenIds = "passed";
  const edits = withAdapterName(withIds, context.decodeAdapters.idOf(request), lease.replica);
  const giveUp = (): void => {
    const adapterId = context.decodeAdapters.required(context.decodeAdapters.idOf(request));
    if (hold === undefined) return;
    context.stranded.giveUp({
      hold,
      request,
      requestId,
      edits,
      constraints: { pairGroup, adapterId, avoid: new Set([lease.replica.id]) },
    });
  };
  if (request.cancel.cancelled) {
    // Its own slot may be the only one by which the KV can be freed; whoever waits for a slot goes first.
    lease.release("neutral");
    giveUp();
    throw request.cancel.error!;
  }
  context.health.handedOver(prefilled.replicaId, lease.replica.id);
  return startDecode({
    lease,
    request,
    requestId,
    edits,
    clock,
    answering,
    recorder,
    promptDetails: () => promptDetails,
    onFirstOutput: () => {
      hold?.end("handed_off");
      if (passed) tokenizeOnce?.decodeAnswered(lease.replica, request.method);
      else if (progress.tokenIds === "doubted") tokenizeOnce?.decodeRefused(lease.replica, request.method);
    },
    onFailure: (error, sent) => {
      if (sent) hold?.end(endAfterFailure(error));
      else giveUp();
    },
  });
}

function passIds(
  method: LLMRequest["method"],
  handle: RequestEdits,
  ids: RawJson | undefined,
): { readonly edits: RequestEdits; readonly passed: boolean } {
  const edits = ids === undefined ? handle : passTokenIds(method, handle, ids);
  return { edits, passed: edits !== handle };
}

/** What became of the blocks when decode failed before its first token. */
function endAfterFailure(error: unknown): KvHoldEnd {
  // vLLM tells prefill to free the blocks of a request that decode refuses, ends, or whose client leaves. Only a
  // decode engine that is gone can't.
  return error instanceof EngineConnectionError ? "stranded" : "released";
}

async function prefillOn(
  lease: ReplicaLease,
  request: LLMRequest,
  decodeLease: ReplicaLease,
  progress: RequestProgress,
  context: HandoffContext,
): Promise<Prefilled | DecodeOnlyReason> {
  const { connector, holds } = context;
  const { replica } = lease;
  const requestId = context.random.id();
  const bound = bindPeers(context.peers, replica, decodeLease.replica, request.cancel);
  const binding = bound instanceof Promise ? await bound : bound;
  const view = new ConnectorRequestView(request, requestId, binding.decode);
  const wanted = connector.preparePrefillRequest(view, binding.prefill);
  const edits = withAdapterName(wanted, context.prefillAdapters.idOf(request), replica);
  const prefill = { lease, request, requestId, edits, recorder: progress.recorder, context };
  const withIds =
    progress.tokenIds !== "doubted" &&
    context.tokenizeOnce?.wants(request, replica, decodeLease.replica) === true;
  const { answer, keptNothing, checked } = await (withIds
    ? prefillWithIds(prefill)
    : sendPrefill(prefill, false));
  if (keptNothing) {
    lease.release("success");
    return "first_token_stop";
  }
  const hold = checked === undefined ? undefined : holds.open(replica);
  if (checked?.engineId !== undefined) replica.engineId = checked.engineId;
  lease.release("success");
  const { fullName, id: replicaId, pairGroup } = replica;
  return { answer, hold, requestId, binding, replica: fullName, replicaId, pairGroup };
}

/** One prefill as it goes out. */
interface PrefillLeg {
  readonly lease: ReplicaLease;
  readonly request: LLMRequest;
  readonly requestId: string;
  readonly edits: RequestEdits;
  readonly recorder: TraceRecorder;
  readonly context: HandoffContext;
}

/** What came of one prefill, and may be used. */
interface CheckedPrefill {
  readonly answer: PrefillAnswer;
  /** Its first token ended the answer, upon which the engine dropped the KV. */
  readonly keptNothing: boolean;
  /** Undefined when there is no handle and none is needed. */
  readonly checked: CheckedHandle | undefined;
}

/** Asks for token ids too; without them when that may be what the engine refused. */
async function prefillWithIds(leg: PrefillLeg): Promise<CheckedPrefill> {
  const { replica } = leg.lease;
  const { connector, tokenizeOnce } = leg.context;
  try {
    const prefill = await sendPrefill({ ...leg, edits: askForTokenIds(connector, leg.edits) }, true);
    tokenizeOnce?.prefillAnswered(replica, prefill.answer.promptTokenIds);
    return prefill;
  } catch (error) {
    if (leg.request.cancel.cancelled || tokenizeOnce?.mayRefuse(replica, error) !== true) throw error;
    const prefill = await sendPrefill(leg, false);
    tokenizeOnce.prefillRefused(replica);
    return prefill;
  }
}

async function sendPrefill(leg: PrefillLeg, withTokenIds: boolean): Promise<CheckedPrefill> {
  const { lease, request, requestId, edits, recorder, context } = leg;
  const { connector, options } = context;
  const trace = recorder.leg("prefill", lease, requestId);
  try {
    const engineRequest = legRequest(request, requestId, edits, "prefill");
    const answer = await callPrefill(lease.replica, recorder.traced(engineRequest, trace), {
      clock: context.clock,
      cancel: request.cancel,
      prefillTimeoutMs: context.prefillTimeoutMs,
      withTokenIds,
    });
    recorder.answered(trace);
    const keptNothing =
      answer.kvTransferParams === undefined && connector.requiresHandle && answer.finishReason === "stop";
    const checked = keptNothing
      ? undefined
      : checkKvHandle(answer.kvTransferParams, connector, lease.replica, options.kvHostAllowlist);
    return { answer, keptNothing, checked };
  } catch (error) {
    recorder.legFailed(trace, error);
    throw error;
  }
}
