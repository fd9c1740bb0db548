import { adapterTiers } from "./adapter-tiers.ts";
import { rejectUnknownKwargs } from "./router-kwargs.ts";
import { rotate } from "./rotate.ts";
import type { PendingRequest, ReplicaView, RequestRouter, RequestRouterContext } from "./request-router.ts";

/**
 * Every replica in turn, from a random start. A replica without a free slot is passed over for the next one.
 * Mirrors Ray's `ray.serve.experimental.round_robin_router.RoundRobinRouter`, with adapter affinity added.
 *
 * No keyword arguments.
 */
export class RoundRobinRouter implements RequestRouter {
  #cursor: number;

  constructor(context: RequestRouterContext) {
    rejectUnknownKwargs("round-robin", context.kwargs, []);
    this.#cursor = Math.floor(context.random() * 0x1_0000_0000);
  }

  chooseReplicas(
    candidates: readonly ReplicaView[],
    request: PendingRequest,
  ): readonly (readonly ReplicaView[])[] {
    const turn = this.#cursor;
    this.#cursor = (turn + 1) % Number.MAX_SAFE_INTEGER;
    return adapterTiers(candidates, request).map((tier) => rotate(tier, turn % tier.length));
  }
}
