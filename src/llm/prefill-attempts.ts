import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import { EngineError } from "../errors/engine-error.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import { KvTransferError } from "../errors/kv-transfer-error.ts";
import type { Replica, ReplicaLease } from "../replicas/replica.ts";
import { onFailureRelease, PendingModelRequest } from "./answer-with-retries.ts";
import { outcomeOf } from "./call-outcome.ts";
import type { DecodeOnlyReason } from "./disaggregation-decision.ts";
import type { HandoffContext, RequestProgress } from "./handoff-context.ts";
import type { LLMRequest } from "./llm-request.ts";
import type { ResolvedPDProxyOptions } from "./pd-proxy-options.ts";

/**
 * Takes a prefill replica and runs `use` on it; on another one when that fails, and gives up with the reason for
 * which decode goes alone.
 *
 * `use` owns the lease while it works and releases it when it succeeds. Its failure is prefill's, and tried again
 * here, as long as the decode lease is still held.
 */
export async function onSomePrefill<Result extends object>(
  request: LLMRequest,
  decodeLease: ReplicaLease,
  progress: RequestProgress,
  context: HandoffContext,
  use: (lease: ReplicaLease) => Promise<Result | DecodeOnlyReason>,
): Promise<Result | DecodeOnlyReason> {
  const { attempts, recorder, failedPrefills: failed } = progress;
  const { prefill, options, connector, prefillAdapters } = context;
  const adapterId = prefillAdapters.idOf(request);
  const narrow = (prefills: readonly Replica[]): readonly Replica[] =>
    context.pairs.prefills(prefills, decodeLease.replica);
  const required = prefillAdapters.required(adapterId);
  let kvRetried = false;
  let reloaded = false;
  for (;;) {
    if (!connector.decodeNeedsPrefill && !prefill.hasReplicaFor({ narrow, adapterId: required }))
      return "no_prefill";
    const acquired = prefill.acquire(
      new PendingModelRequest(request, failed.size, failed, adapterId),
      request.cancel,
      {
        avoid: failed,
        adapterId: required,
        narrow,
        priority: request.priority,
      },
    );
    const lease = acquired instanceof Promise ? await acquired : acquired;
    try {
      const preparing = prefillAdapters.prepare(lease, adapterId, request.cancel);
      if (preparing !== undefined) await onFailureRelease(lease, preparing);
      return await use(lease);
    } catch (error) {
      lease.release(error instanceof KvTransferError ? "success" : outcomeOf(error));
      if (request.cancel.cancelled || decodeLease.released || !(error instanceof EngineError)) throw error;
      if (!reloaded && prefillAdapters.forgetMissing(lease.replica, adapterId, error)) {
        reloaded = true;
        continue;
      }
      failed.add(lease.replica.id);
      if (error instanceof KvTransferError) {
        const verdict = afterMissingKv(error, options.onMissingKv, kvRetried);
        if (verdict === "fail") throw error;
        if (verdict !== "retry") return verdict;
        kvRetried = true;
        recorder.retried("prefill", error);
      } else if (attempts.mayRetry(error, prefill.hasReplicaBeside(failed))) {
        recorder.retried("prefill", error);
        await attempts.pause(request.cancel);
      } else if (!connector.decodeNeedsPrefill && mayGoAlone(error, options)) {
        return "prefill_failed";
      } else {
        throw error;
      }
    }
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
  return (
    error instanceof EngineConnectionError || !(error instanceof EngineResponseError && error.isClientFault)
  );
}
