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
import { checkKvHandle } from "./kv-handle-check.ts";
import type { KvHold, KvHoldEnd } from "./kv-holds.ts";
import { ConnectorRequestView, legRequest } from "./leg-request.ts";
import type { LLMRequest } from "./llm-request.ts";
import type { LLMResponse } from "./llm-response.ts";
import { bindPeers, type PeerBinding } from "./peer-directory.ts";
import { onSomePrefill } from "./prefill-attempts.ts";
import { callPrefill, type PrefillAnswer } from "./prefill-call.ts";
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
    return decodeAfter(prefilled, request, lease, progress.recorder, context);
  return handOver(request, lease, prefilled, progress, context);
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
  const { requestId, hold, answer, binding } = prefilled;
  if (request.cancel.cancelled) {
    hold?.end("stranded");
    throw request.cancel.error!;
  }
  const view = new ConnectorRequestView(request, requestId, binding.decode);
  const handle = connector.prepareDecodeRequest(view, binding.prefill, answer);
  const ids = tokenizeOnce === undefined ? undefined : answer.promptTokenIds;
  const { edits: withIds, passed } = passIds(request.method, handle, ids);
  if (passed) progress.tokenIds = "passed";
  const edits = withAdapterName(withIds, context.decodeAdapters.idOf(request), lease.replica);
  context.health.handedOver(prefilled.replicaId, lease.replica.id);
  return startDecode({
    lease,
    request,
    requestId,
    edits,
    clock,
    answering,
    recorder,
    onFirstOutput: () => {
      hold?.end("handed_off");
      if (passed) tokenizeOnce?.decodeAnswered(lease.replica, request.method);
      else if (progress.tokenIds === "doubted") tokenizeOnce?.decodeRefused(lease.replica, request.method);
    },
    onFailure: (error) => hold?.end(endAfterFailure(error)),
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
  const { connector, options, holds } = context;
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
  const answer = await (withIds ? prefillWithIds(prefill) : sendPrefill(prefill, false));
  const handle = answer.kvTransferParams;
  if (handle === undefined && connector.requiresHandle && answer.finishReason === "stop") {
    lease.release("success");
    return "first_token_stop";
  }
  const checked = checkKvHandle(handle, connector, replica, options.kvHostAllowlist);
  const hold = checked === undefined ? undefined : holds.open(replica);
  if (checked?.engineId !== undefined) replica.engineId = checked.engineId;
  lease.release("success");
  return { answer, hold, requestId, binding, replica: replica.fullName, replicaId: replica.id };
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

/** Asks for token ids too; without them when that may be what the engine refused. */
async function prefillWithIds(leg: PrefillLeg): Promise<PrefillAnswer> {
  const { replica } = leg.lease;
  const { connector, tokenizeOnce } = leg.context;
  try {
    const answer = await sendPrefill({ ...leg, edits: askForTokenIds(connector, leg.edits) }, true);
    tokenizeOnce?.prefillAnswered(replica, answer.promptTokenIds);
    return answer;
  } catch (error) {
    if (leg.request.cancel.cancelled || tokenizeOnce?.mayRefuse(replica, error) !== true) throw error;
    const answer = await sendPrefill(leg, false);
    tokenizeOnce.prefillRefused(replica);
    return answer;
  }
}

async function sendPrefill(leg: PrefillLeg, withTokenIds: boolean): Promise<PrefillAnswer> {
  const { lease, request, requestId, edits, recorder, context } = leg;
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
    return answer;
  } catch (error) {
    recorder.legFailed(trace, error);
    throw error;
  }
}
