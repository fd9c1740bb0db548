import type { ReplicaSet } from "../replicas/replica-set.ts";
import type { Replica } from "../replicas/replica.ts";

/** True for a replica that takes requests for its own sake, not as a last resort. */
export function isWell({ health }: Replica): boolean {
  return health === "healthy" || health === "probing";
}

/** Tells a person, once each time, that a pool's replicas are all doubtful or that a group of ranks came or went. */
export class AvailabilityWarnings {
  readonly #deployment: string;
  readonly #warn: (message: string) => void;
  #lastResort = false;
  #broken = new Map<string, string>();

  constructor(deployment: string, warn: (message: string) => void) {
    this.#deployment = deployment;
    this.#warn = warn;
  }

  /** A replica did not drain in time. */
  drainTimeout({ fullName, inFlight, holds }: Replica, limitMs: number): void {
    const lost = [
      ...(inFlight > 0 ? [`${inFlight} of its requests end`] : []),
      ...(holds > 0 ? [`KV of ${holds} is given up`] : []),
    ];
    this.#warn(
      `${fullName} did not drain within ${limitMs / 1000} s (graceful_shutdown_timeout_s): ${lost.join(", ")}.`,
    );
  }

  /** Looks at the replicas after a change. */
  observe(replicas: ReplicaSet): void {
    const { available } = replicas;
    const lastResort = available.length > 0 && !available.some(isWell);
    if (lastResort && !this.#lastResort) {
      this.#warn(
        `No replica of "${this.#deployment}" is healthy; requests go to all of them as a last resort.`,
      );
    }
    this.#lastResort = lastResort;
    this.#observeGroups(replicas);
  }

  #observeGroups({ brokenGroups, replicas, startingReplicas }: ReplicaSet): void {
    if (brokenGroups.length === 0 && this.#broken.size === 0) return;
    // Groups that begin are not broken, and groups that left are not back.
    const starting = new Set(Array.from(startingReplicas, ({ place }) => place?.group));
    const present = new Set(replicas.map(({ place }) => place?.group));
    const broken = new Map<string, string>();
    for (const { group, reason } of brokenGroups) {
      if (starting.has(group)) continue;
      broken.set(group, reason);
      if (this.#broken.get(group) === reason) continue;
      this.#warn(
        `Data-parallel group ${group} of "${this.#deployment}" is out of service as a whole: ${reason}.`,
      );
    }
    for (const group of this.#broken.keys()) {
      if (broken.has(group) || !present.has(group) || starting.has(group)) continue;
      this.#warn(`Data-parallel group ${group} of "${this.#deployment}" is whole and in service again.`);
    }
    this.#broken = broken;
  }
}
