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
import { callPrefill, type PrefillAnswer } from "./prefill-call.ts";

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
  /** A request that should have been disaggregated is served by decode alone. */
  readonly onDecodeOnly: (reason: DecodeOnlyReason) => void;
  /** Prefill handed a request to decode. */
  readonly onHandoff: () => void;
}

/** A finished prefill, ready to be handed over once. */
interface Prefilled {
  readonly answer: PrefillAnswer;
  /** Absent when the connector moves KV without a handle. */
  readonly hold: KvHold | undefined;
  /** Id that both legs share. */
  readonly requestId: string;
  readonly replica: string;
}

/**
 * Prefill, wait, decode: the handoff of NixlConnector and of every connector that late-binds.
 *
 * The decode slot is taken already. Between prefill's answer and decode's dispatch nothing waits for anything.
 */
export async function sequentialHandoff(
  request: LLMRequest,
  lease: ReplicaLease,
  attempts: Attempts,
  context: HandoffContext,
): Promise<LLMResponse> {
  let prefilled = await prefillOrReason(request, lease, attempts, context);
  if (typeof prefilled === "object" && prefilled.hold?.late === true) {
    prefilled.hold.end("expired");
    prefilled = await prefillOrReason(request, lease, attempts, context);
    if (typeof prefilled === "object" && prefilled.hold?.late === true) {
      prefilled.hold.end("expired");
      throw new KvTransferError("lease_expired", "the KV lease ran out before decode could be sent", prefilled);
    }
  }
  if (typeof prefilled === "string") {
    context.onDecodeOnly(prefilled);
    return decodeOnly(request, lease, context);
  }
  return handOver(request, lease, prefilled, context);
}

/** Decode computes the whole prompt itself. */
export function decodeOnly(
  request: LLMRequest,
  lease: ReplicaLease,
  context: Pick<HandoffContext, "clock" | "answering" | "random">,
): Promise<LLMResponse> {
  const { clock, answering } = context;
  return startDecode({ lease, request, requestId: context.random.id(), edits: {}, clock, answering });
}

function handOver(
  request: LLMRequest,
  lease: ReplicaLease,
  prefilled: Prefilled,
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
  context.onHandoff();
  const response = startDecode({
    lease,
    request,
    requestId,
    edits,
    clock,
    answering,
    onFirstOutput: () => hold?.end("handed_off"),
  });
  if (hold !== undefined) response.catch((error: unknown) => hold.end(endAfterFailure(error)));
  return response;
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
  attempts: Attempts,
  context: HandoffContext,
): Promise<Prefilled | DecodeOnlyReason> {
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
      return await prefillOn(lease, request, context);
    } catch (error) {
      lease.release(error instanceof KvTransferError ? "success" : outcomeOf(error));
      if (request.cancel.cancelled || !(error instanceof EngineError)) throw error;
      failed.add(lease.replica.id);
      if (error instanceof KvTransferError) {
        const verdict = afterMissingKv(error, options.onMissingKv, kvRetried);
        if (verdict === "fail") throw error;
        if (verdict !== "retry") return verdict;
        kvRetried = true;
      } else if (attempts.mayRetry(error, prefill.hasReplicaBeside(failed))) {
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
  context: HandoffContext,
): Promise<Prefilled | DecodeOnlyReason> {
  const { connector, clock, options, holds, prefillTimeoutMs } = context;
  const { replica } = lease;
  const requestId = context.random.id();
  const edits = connector.preparePrefillRequest(new ConnectorRequestView(request, requestId), undefined);
  const engineRequest = legRequest(request, requestId, edits, "prefill");
  const answer = await callPrefill(replica, engineRequest, { clock, cancel: request.cancel, prefillTimeoutMs });
  const handle = answer.kvTransferParams;
  if (handle === undefined && connector.requiresHandle && answer.finishReason === "stop") {
    lease.release("success");
    return "first_token_stop";
  }
  const checked = checkKvHandle(handle, connector, replica, options.kvHostAllowlist);
  const hold = checked === undefined ? undefined : holds.open(replica);
  if (checked?.engineId !== undefined) replica.engineId = checked.engineId;
  lease.release("success");
  return { answer, hold, requestId, replica: replica.fullName };
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
