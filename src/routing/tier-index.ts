import type { ReplicaView } from "./request-router.ts";

/** One tier of candidates, looked up by id. */
export interface IndexedTier {
  readonly ids: readonly string[];
  readonly byId: ReadonlyMap<string, ReplicaView>;
}

/**
 * Remembers the index of the last tier. A deployment hands out the same array until its replicas change, so that the
 * usual request builds none.
 */
export class TierIndex {
  #tier: readonly ReplicaView[] | undefined;
  #indexed: IndexedTier = { ids: [], byId: new Map() };

  of(tier: readonly ReplicaView[]): IndexedTier {
    if (this.#tier !== tier) {
      this.#tier = tier;
      const byId = new Map(tier.map((replica) => [replica.id, replica]));
      this.#indexed = { ids: [...byId.keys()], byId };
    }
    return this.#indexed;
  }
}
