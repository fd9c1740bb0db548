import { adapterTiers } from "./adapter-tiers.ts";
import { ConsistentHashRouter } from "./consistent-hash-router.ts";
import { PowerOfTwoRouter } from "./power-of-two-router.ts";
import { hasFreeSlot } from "./replica-load.ts";
import type { PendingRequest, ReplicaView, RequestRouter, RequestRouterContext } from "./request-router.ts";

/**
 * Requests of one session (`x-session-id`) stay on one replica, whose cache has the conversation so far; requests
 * without a session go by power of two. When a session's replica is full or gone, any other serves it. Ours; under
 * Ray the nearest is `ConsistentHashRouter`, which hashes requests without a session, too.
 *
 * Keyword arguments: those of {@link ConsistentHashRouter}.
 */
export class SessionAffinityRouter implements RequestRouter {
  readonly usesEngineLoad = true;
  readonly #bySession: ConsistentHashRouter;
  readonly #byLoad: PowerOfTwoRouter;

  constructor(context: RequestRouterContext) {
    this.#bySession = new ConsistentHashRouter(context);
    this.#byLoad = new PowerOfTwoRouter({
      random: () => context.random(),
      now: () => context.now(),
      kwargs: {},
    });
  }

  chooseReplicas(
    candidates: readonly ReplicaView[],
    request: PendingRequest,
  ): readonly (readonly ReplicaView[])[] {
    const { sessionId } = request;
    if (sessionId === undefined || sessionId === "") return this.#byLoad.chooseReplicas(candidates, request);
    return adapterTiers(candidates, request).flatMap((tier) => {
      const preferred = this.#bySession.rankTier(tier, sessionId);
      if (preferred.some(hasFreeSlot)) return [preferred];
      const others = tier.filter((replica) => !preferred.includes(replica));
      return [preferred, ...this.#byLoad.rankTier(others)];
    });
  }

  updateReplicas(replicas: readonly ReplicaView[]): void {
    this.#bySession.updateReplicas(replicas);
  }

  scores(candidate: ReplicaView): Readonly<Record<string, number>> {
    return this.#byLoad.scores(candidate);
  }
}
