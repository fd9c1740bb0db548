import type { Endpoint } from "../config/endpoint.ts";
import { endpointKey } from "../replicas/replica-set.ts";

/**
 * Which endpoints a pool should have: those discovery found, or those somebody set by hand, without the ones somebody
 * took out.
 */
export class PoolEndpoints {
  #discovered: readonly Endpoint[] = [];
  #fixed: readonly Endpoint[] | undefined;
  readonly #takenOut = new Set<string>();

  /** A new list from discovery. An endpoint that was taken out and is not on it any more may come back later. */
  discovered(endpoints: readonly Endpoint[]): void {
    this.#discovered = endpoints;
    if (this.#fixed === undefined) this.#forgetMissing(endpoints);
  }

  /** Sets the list by hand, from now on instead of discovery's; null gives it back to discovery. */
  fix(endpoints: readonly Endpoint[] | null): void {
    this.#fixed = endpoints ?? undefined;
    this.#takenOut.clear();
  }

  /** Leaves an endpoint out until it is set again, or was gone from the list and came back. */
  takeOut(endpoint: Endpoint): void {
    this.#takenOut.add(endpointKey(endpoint));
  }

  /** What there should be. */
  get wanted(): readonly Endpoint[] {
    const all = this.#fixed ?? this.#discovered;
    return this.#takenOut.size === 0
      ? all
      : all.filter((endpoint) => !this.#takenOut.has(endpointKey(endpoint)));
  }

  #forgetMissing(endpoints: readonly Endpoint[]): void {
    if (this.#takenOut.size === 0) return;
    const present = new Set(endpoints.map(endpointKey));
    for (const key of this.#takenOut) if (!present.has(key)) this.#takenOut.delete(key);
  }
}
