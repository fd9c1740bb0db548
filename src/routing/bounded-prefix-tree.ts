import { type PrefixMatch, PrefixTree } from "./prefix-tree.ts";

/** When a tenant's share of the tree is cut, and to what. Ray's `eviction_*` options. */
export interface PrefixEviction {
  /** Characters a tenant may have. @default 400000 */
  readonly thresholdChars: number;
  /** Characters it is cut to. @default 360000 */
  readonly targetChars: number;
  /** Milliseconds between two rounds; within them a tenant may reach twice the threshold. @default 10000 */
  readonly intervalMs: number;
}

/** Ray's numbers. */
export const defaultPrefixEviction: PrefixEviction = {
  thresholdChars: 400_000,
  targetChars: 360_000,
  intervalMs: 10_000,
};

/** Which replica was sent which prompts, within bounds: what was sent longest ago is forgotten first. */
export class BoundedPrefixTree {
  readonly #tree = new PrefixTree();
  readonly #eviction: PrefixEviction | undefined;
  #lastEvictionMs: number;

  /** @param eviction undefined: nothing is ever forgotten, as Ray's default is */
  constructor(eviction: PrefixEviction | undefined, nowMs: number) {
    this.#eviction = eviction;
    this.#lastEvictionMs = nowMs;
  }

  /** From now on these replicas and no others; those that stay keep what they have. */
  setReplicas(ids: ReadonlySet<string>, nowMs: number): void {
    this.#tree.removeTenants(this.#tree.tenants.filter((id) => !ids.has(id)));
    this.#tree.addTenants(ids, nowMs);
  }

  /** These replicas have nothing of what they were sent any more. Unknown ones are ignored. */
  forget(ids: ReadonlySet<string>, nowMs: number): void {
    const known = this.#tree.tenants.filter((id) => ids.has(id));
    this.#tree.removeTenants(known);
    this.#tree.addTenants(known, nowMs);
  }

  /** Takes note that a replica got this prompt. */
  sent(text: string, replicaId: string, nowMs: number): void {
    this.#tree.insert(text, replicaId, nowMs);
    this.#evict(replicaId, nowMs);
  }

  match(text: string, ids: readonly string[]): PrefixMatch {
    return this.#tree.match(text, ids);
  }

  smallest(ids: readonly string[]): readonly string[] {
    return this.#tree.smallestTenants(ids);
  }

  #evict(replicaId: string, nowMs: number): void {
    const eviction = this.#eviction;
    const count = this.#tree.charCount(replicaId);
    if (eviction === undefined || count === undefined || count <= eviction.thresholdChars) return;
    const isDue = nowMs - this.#lastEvictionMs >= eviction.intervalMs;
    if (!isDue) {
      if (count > 2 * eviction.thresholdChars) this.#tree.evict(replicaId, count - eviction.targetChars);
      return;
    }
    this.#lastEvictionMs = nowMs;
    for (const id of this.#tree.tenants) {
      const size = this.#tree.charCount(id) ?? 0;
      if (size > eviction.thresholdChars) this.#tree.evict(id, size - eviction.targetChars);
    }
  }
}
