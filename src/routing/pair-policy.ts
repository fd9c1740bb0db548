import { defaultLoadMaxAgeMs, hasFreeSlot, replicaLoad } from "./replica-load.ts";
import type { ReplicaView } from "./request-router.ts";

/** How prefill and decode replicas are chosen for each other. Pair groups always hold: they need no option. */
export interface PairingOptions {
  /**
   * Endpoint labels from the widest to the narrowest, for example `["zone", "rack"]`. A pair that agrees on more of
   * them, from the first one on, is preferred. @default []
   */
  readonly topologyLabels?: readonly string[] | undefined;
  /**
   * Only pairs of engines that run the same vLLM version, as far as both are known: a rolling update then never hands
   * KV from one version to the other. @default false
   */
  readonly sameVersion?: boolean | undefined;
  /**
   * Load gap, in requests, beyond which a nearer replica is not worth it: the least loaded of the near ones may have
   * so many more than the least loaded of all. 0 or more. @default 10, as prefix affinity
   */
  readonly imbalancedThreshold?: number | undefined;
}

export type ResolvedPairingOptions = {
  readonly [Key in keyof PairingOptions]-?: Exclude<PairingOptions[Key], undefined>;
};

export const defaultPairing: ResolvedPairingOptions = {
  topologyLabels: [],
  sameVersion: false,
  imbalancedThreshold: 10,
};

/** What of a replica decides with whom it goes; replicas of one kind are alike. */
interface Kind {
  readonly pairGroup: string | undefined;
  readonly version: string | undefined;
  readonly labels: readonly (string | undefined)[];
}

/**
 * Chooses prefill and decode together: first the decode replicas that have a prefill partner, near ones first, then
 * the partners of the one that was taken. Routers then choose among those. Ours; Ray knows neither groups nor places.
 */
export class PairPolicy {
  readonly #options: ResolvedPairingOptions;
  readonly #now: () => number;

  constructor(options: ResolvedPairingOptions, now: () => number) {
    this.#options = options;
    this.#now = now;
  }

  /**
   * Decode replicas worth taking: all that have a partner; only the nearest to theirs while load allows. All of them
   * when none has a partner, for decode can go alone.
   */
  decodes<View extends ReplicaView>(
    decodes: readonly View[],
    prefills: readonly ReplicaView[],
  ): readonly View[] {
    if (this.#options.topologyLabels.length === 0 && !this.#isRestricted(decodes)) return decodes;
    const free = prefills.filter(hasFreeSlot);
    const kinds = this.#kindsOf(free.length > 0 ? free : prefills);
    const nearest = new Map<string, number>();
    const nearness = (decode: View): number => {
      const key = this.#key(decode);
      const known = nearest.get(key);
      if (known !== undefined) return known;
      const kind = this.#kind(decode);
      const best = Math.max(-1, ...kinds.map((prefill) => this.#nearness(prefill, kind)));
      nearest.set(key, best);
      return best;
    };
    const narrowed = this.#narrow(decodes, nearness);
    return narrowed.length > 0 ? narrowed : decodes;
  }

  /** Partners of a decode replica; the nearest while load allows. Empty when it has none. */
  prefills<View extends ReplicaView>(prefills: readonly View[], decode: ReplicaView): readonly View[] {
    const { topologyLabels, sameVersion } = this.#options;
    if (topologyLabels.length === 0 && !sameVersion && decode.pairGroup === undefined) return prefills;
    const kind = this.#kind(decode);
    return this.#narrow(prefills, (prefill) => this.#nearness(this.#kind(prefill), kind));
  }

  #isRestricted(decodes: readonly ReplicaView[]): boolean {
    if (this.#options.sameVersion) return true;
    for (const { pairGroup } of decodes) if (pairGroup !== undefined) return true;
    return false;
  }

  #narrow<View extends ReplicaView>(
    views: readonly View[],
    nearness: (view: View) => number,
  ): readonly View[] {
    const rated = views.map((view) => ({ view, near: nearness(view) })).filter(({ near }) => near >= 0);
    const best = rated.reduce((most, { near }) => Math.max(most, near), 0);
    const all = rated.map(({ view }) => view);
    const nearest = rated.filter(({ near }) => near === best).map(({ view }) => view);
    if (nearest.length === all.length) return all.length === views.length ? views : all;
    const free = nearest.filter(hasFreeSlot);
    if (free.length === 0) return all;
    const gap = this.#leastLoad(free) - this.#leastLoad(all);
    return gap > this.#options.imbalancedThreshold ? all : nearest;
  }

  #leastLoad(views: readonly ReplicaView[]): number {
    const now = this.#now();
    let least = Number.POSITIVE_INFINITY;
    for (const view of views) least = Math.min(least, replicaLoad(view, now, defaultLoadMaxAgeMs));
    return least;
  }

  /** How many topology labels a pair shares, from the first on; -1 when the two can't go together. */
  #nearness(prefill: Kind, decode: Kind): number {
    const { sameVersion } = this.#options;
    if (differ(prefill.pairGroup, decode.pairGroup)) return -1;
    if (sameVersion && differ(prefill.version, decode.version)) return -1;
    const parting = prefill.labels.findIndex(
      (label, index) => label === undefined || label !== decode.labels[index],
    );
    return parting < 0 ? prefill.labels.length : parting;
  }

  #kindsOf(views: readonly ReplicaView[]): readonly Kind[] {
    const kinds = new Map<string, Kind>();
    for (const view of views) {
      const key = this.#key(view);
      if (!kinds.has(key)) kinds.set(key, this.#kind(view));
    }
    return [...kinds.values()];
  }

  #kind({ pairGroup, version, labels }: ReplicaView): Kind {
    return { pairGroup, version, labels: this.#options.topologyLabels.map((name) => labels[name]) };
  }

  #key({ pairGroup, version, labels }: ReplicaView): string {
    let key = `${pairGroup ?? ""}\n${version ?? ""}`;
    for (const name of this.#options.topologyLabels) key += `\n${labels[name] ?? ""}`;
    return key;
  }
}

/** Who says nothing goes with everybody. */
function differ(one: string | undefined, other: string | undefined): boolean {
  return one !== undefined && other !== undefined && one !== other;
}
