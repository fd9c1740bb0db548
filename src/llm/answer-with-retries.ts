import type { ReplicaLease } from "../replicas/replica.ts";
import { promptText } from "../routing/prompt-text.ts";
import type { PendingRequest } from "../routing/request-router.ts";
import type { DeploymentHandle, LeaseConstraints } from "../serve/deployment-handle.ts";
import type { Attempts } from "./attempts.ts";
import type { TraceRecorder } from "./trace-recorder.ts";
import { outcomeOf } from "./call-outcome.ts";
import type { LoraAdapters } from "./lora-adapters.ts";
import type { ModelRequest } from "./forward-request.ts";
import type { LLMResponse } from "./llm-response.ts";

/** What {@link answerWithRetries} works with. */
export interface AnswerContext {
  /** The deployment whose replica answers the client. */
  readonly handle: DeploymentHandle;
  /** Its LoRA adapters. */
  readonly adapters: LoraAdapters;
  readonly attempts: Attempts;
  readonly recorder: TraceRecorder;
  /** Leaves the replicas that are worth taking. @default all */
  readonly narrow?: LeaseConstraints["narrow"];
  /** True when the failure may come from something that another try leaves out. Not counted as a retry. @default never */
  readonly mayLeaveOut?: ((lease: ReplicaLease, error: unknown) => boolean) | undefined;
}

/**
 * Takes a slot on an answering replica and runs `answer` on it; on a failure that may be repeated takes another one.
 *
 * `answer` owns the lease from its first call to the engine on; when it throws before that the lease is released
 * here.
 */
export async function answerWithRetries(
  request: ModelRequest,
  context: AnswerContext,
  answer: (lease: ReplicaLease) => Promise<LLMResponse>,
): Promise<LLMResponse> {
  const { handle, attempts, recorder, adapters } = context;
  try {
    const adapterId = adapters.idOf(request);
    adapters.requireServable(adapterId);
    const failed = new Set<string>();
    let reloaded = false;
    for (;;) {
      const acquired = handle.acquire(
        new PendingModelRequest(request, attempts.count, failed, adapterId),
        request.cancel,
        {
          avoid: failed,
          adapterId: adapters.required(adapterId),
          narrow: context.narrow,
          priority: request.priority,
        },
      );
      const lease = acquired instanceof Promise ? await acquired : acquired;
      recorder.leased();
      try {
        const preparing = adapters.prepare(lease, adapterId, request.cancel);
        if (preparing !== undefined) await onFailureRelease(lease, preparing);
        return await answer(lease);
      } catch (error) {
        const used = lease.released;
        lease.release(used ? outcomeOf(error) : "neutral");
        // A lease that was never used says that the failure was elsewhere: there is nothing to try again here.
        if (!used || request.cancel.cancelled) throw error;
        if (!reloaded && adapters.forgetMissing(lease.replica, adapterId, error)) {
          reloaded = true;
          continue;
        }
        if (context.mayLeaveOut?.(lease, error) === true) continue;
        failed.add(lease.replica.id);
        if (!attempts.mayRetry(error, handle.hasReplicaBeside(failed))) throw error;
        recorder.retried("decode", error);
        await attempts.pause(request.cancel);
      }
    }
  } catch (error) {
    recorder.failed(error);
    throw error;
  }
}

/** Waits for what a lease needs before it can be used. Its failure is no sign of an ill replica. */
export async function onFailureRelease(lease: ReplicaLease, preparing: Promise<void>): Promise<void> {
  try {
    await preparing;
  } catch (error) {
    lease.release("neutral");
    throw error;
  }
}

/** A request as routers see it. */
export class PendingModelRequest implements PendingRequest {
  readonly requestId: string;
  readonly modelId: string;
  readonly multiplexedModelId: string | undefined;
  readonly sessionId: string | undefined;
  readonly attempt: number;
  readonly triedReplicaIds: ReadonlySet<string>;
  readonly #request: ModelRequest;
  /** Read once for all steps of one choice, and forgotten with it: a stream may last, its prompt need not. */
  #text: { readonly value: string | undefined } | undefined;

  /** Routers of users may take the request apart. */
  readonly promptText = (): string | undefined => {
    this.#text ??= { value: promptTextOf(this.#request) };
    return this.#text.value;
  };

  constructor(
    request: ModelRequest,
    attempt: number,
    triedReplicaIds: ReadonlySet<string>,
    adapterId?: string,
  ) {
    this.requestId = request.requestId;
    this.modelId = request.modelId;
    this.multiplexedModelId = adapterId;
    this.sessionId = request.sessionId;
    this.attempt = attempt;
    this.triedReplicaIds = triedReplicaIds;
    this.#request = request;
  }
}

function promptTextOf(request: ModelRequest): string | undefined {
  if (request.method === "forward") return undefined;
  const { body, method } = request;
  return promptText(
    method === "chat" ? { messages: body.value("messages") } : { prompt: body.value("prompt") },
  );
}
