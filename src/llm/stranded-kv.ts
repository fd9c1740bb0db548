import { EngineTimeoutError } from "../errors/engine-timeout-error.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import type { RequestEdits } from "../kv-transfer/kv-connector.ts";
import { prefillRemovedFields } from "../kv-transfer/prefill-request.ts";
import { RawJson } from "../protocol/raw-json.ts";
import { callBuffered } from "../replicas/buffered-call.ts";
import type { ReplicaLease } from "../replicas/replica.ts";
import type { DeploymentHandle, LeaseConstraints } from "../serve/deployment-handle.ts";
import { PendingModelRequest } from "./answer-with-retries.ts";
import type { KvHold } from "./kv-holds.ts";
import { legRequest } from "./leg-request.ts";
import type { LLMRequest } from "./llm-request.ts";
import type { StrandedKvPolicy } from "./pd-proxy-options.ts";

/** Milliseconds after which the call that frees KV is cut off; by then a decode engine has it, or waits for room. */
const releaseTimeoutMs = 1_000;
const maxReleaseBytes = 1024 * 1024;

const oneToken: RequestEdits["set"] = {
  max_tokens: RawJson.fromText("1"),
  stream: RawJson.fromText("false"),
};

/** KV that waits on prefill for a decode that was never sent. */
export interface StrandedHandoff {
  readonly hold: KvHold;
  readonly request: LLMRequest;
  /** Id that its decode would have had. */
  readonly requestId: string;
  /** What its decode would have been. */
  readonly edits: RequestEdits;
  readonly constraints: LeaseConstraints;
}

/**
 * What becomes of KV that prefill keeps for nobody, under one policy.
 *
 * vLLM has no call that frees it. It frees KV once a decode engine has fetched it, refused it, or was left by its
 * client before it was scheduled; so that is what a release makes happen. It takes only a slot that is free at once,
 * and never sends a handle that is late or may have been sent before.
 */
export class StrandedKv {
  readonly #policy: StrandedKvPolicy;
  readonly #decode: DeploymentHandle;
  readonly #clock: Clock;
  readonly #running = new Set<Promise<void>>();

  constructor(policy: StrandedKvPolicy, decode: DeploymentHandle, clock: Clock) {
    this.#policy = policy;
    this.#decode = decode;
    this.#clock = clock;
  }

  /** Ends the hold: as released when a decode engine took it, else as stranded. */
  giveUp(handoff: StrandedHandoff): void {
    const lease =
      this.#policy === "release-handoff" && !handoff.hold.late ? this.#freeSlot(handoff) : undefined;
    if (lease === undefined) {
      handoff.hold.end("stranded");
      return;
    }
    const running = this.#release(handoff, lease).then((released) => {
      lease.release("neutral");
      handoff.hold.end(released ? "released" : "stranded");
      this.#running.delete(running);
    });
    this.#running.add(running);
  }

  /** Resolves when no release is under way. */
  async idle(): Promise<void> {
    await Promise.all(this.#running);
  }

  #freeSlot({ request, constraints }: StrandedHandoff): ReplicaLease | undefined {
    const { avoid = new Set(), adapterId } = constraints;
    const cancel = new CancelToken();
    try {
      const acquired = this.#decode.acquire(
        new PendingModelRequest(request, 0, avoid, adapterId),
        cancel,
        constraints,
      );
      if (!(acquired instanceof Promise)) return acquired;
      acquired.catch(() => undefined);
      cancel.cancel(new EngineTimeoutError({ phase: "decode", replica: "" }, "onStranded", 0));
    } catch {
      // The deployment is full or closed: nothing to be done about it.
    }
    return undefined;
  }

  async #release({ request, requestId, edits }: StrandedHandoff, lease: ReplicaLease): Promise<boolean> {
    const limits = request.body.has("max_completion_tokens") ? ["max_completion_tokens"] : [];
    const release: RequestEdits = {
      ...edits,
      set: { ...edits.set, ...oneToken },
      remove: [...(edits.remove ?? []), ...prefillRemovedFields, ...limits],
    };
    try {
      const { status } = await callBuffered(
        lease.replica.http,
        legRequest(request, requestId, release, "decode"),
        {
          clock: this.#clock,
          cancel: undefined,
          replica: lease.replica.fullName,
          timeoutMs: releaseTimeoutMs,
          timeoutOption: "onStranded",
          maxBytes: maxReleaseBytes,
        },
      );
      return status < 500;
    } catch (error) {
      // Cut off: the engine has it or drops it from its queue, and frees it either way.
      return error instanceof EngineTimeoutError && error.phase !== "connect";
    }
  }
}
