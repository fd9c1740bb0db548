import type { Endpoint } from "../config/endpoint.ts";
import { RankAssignment, type RankEndpoint, type RankLayout } from "../replicas/rank-assignment.ts";
import { endpointKey } from "../replicas/replica-set.ts";
import { requireAllRanks } from "../replicas/require-all-ranks.ts";

/** What {@link PoolEndpoints} is made from. */
export interface PoolEndpointsInit {
  readonly deployment: string;
  /** Data-parallel ranks that serve as a whole or not at all; undefined: engines have nothing to do with one another. */
  readonly ranks?: RankLayout | undefined;
  /** What discovery finds is a list in which nothing is missing, so that it shows how many ranks each endpoint has. */
  readonly endpointsComplete?: boolean | undefined;
  readonly warn: (message: string) => void;
}

/**
 * Which endpoints a pool should have, one for each data-parallel rank: those discovery found, or those somebody set by
 * hand, without the ones somebody took out.
 */
export class PoolEndpoints {
  readonly #init: PoolEndpointsInit;
  readonly #assignment: RankAssignment;
  #discovered: readonly RankEndpoint[] = [];
  #fixed: readonly RankEndpoint[] | undefined;
  readonly #takenOut = new Map<string, RankEndpoint>();
  #lastWarning: string | undefined;

  constructor(init: PoolEndpointsInit) {
    this.#init = init;
    this.#assignment = new RankAssignment(init.ranks);
  }

  /** A new list from discovery. An endpoint that was taken out and is not on it any more may come back later. */
  discovered(endpoints: readonly Endpoint[]): void {
    const { endpointsComplete, deployment, warn } = this.#init;
    const assigned = this.#assignment.assign(endpoints, endpointsComplete === true);
    this.#discovered = assigned.endpoints;
    const left = assigned.issues.map(({ path }) => endpoints[Number(path[0])]!.url).join(", ");
    if (left !== "" && left !== this.#lastWarning) {
      warn(
        `Endpoints of "${deployment}" have no place in a group of data-parallel ranks and are not used: ${left}.`,
      );
    }
    this.#lastWarning = left;
    if (this.#fixed === undefined) this.#forgetMissing(this.#discovered);
  }

  /**
   * Sets the list by hand, from now on instead of discovery's; null gives it back to discovery.
   *
   * @throws ConfigurationError when data-parallel ranks are missing or have no place
   */
  fix(endpoints: readonly Endpoint[] | null): void {
    const { ranks, deployment } = this.#init;
    if (ranks !== undefined && endpoints !== null && endpoints.length > 0) {
      requireAllRanks(endpoints, ranks, `Deployment "${deployment}"`, "several");
    }
    this.#fixed = endpoints === null ? undefined : this.#assignment.assign(endpoints, true).endpoints;
    this.#takenOut.clear();
  }

  /** Leaves an endpoint out until it is set again, or was gone from the list and came back. */
  takeOut(endpoint: RankEndpoint): void {
    this.#takenOut.set(endpointKey(endpoint), endpoint);
  }

  /** Takes back what was taken out. */
  putBack(matches: (endpoint: Endpoint) => boolean): void {
    for (const [key, endpoint] of this.#takenOut) if (matches(endpoint)) this.#takenOut.delete(key);
  }

  /** What there should be. */
  get wanted(): readonly RankEndpoint[] {
    const all = this.#fixed ?? this.#discovered;
    return this.#takenOut.size === 0
      ? all
      : all.filter((endpoint) => !this.#takenOut.has(endpointKey(endpoint)));
  }

  #forgetMissing(endpoints: readonly RankEndpoint[]): void {
    if (this.#takenOut.size === 0) return;
    const present = new Set(endpoints.map(endpointKey));
    for (const key of this.#takenOut.keys()) if (!present.has(key)) this.#takenOut.delete(key);
  }
}
