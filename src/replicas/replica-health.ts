import type { Clock, Timer } from "../internal/clock.ts";

/** How a call on a replica ended, as far as the replica's health is concerned. */
export type CallOutcome =
  /** The engine answered; a 4xx is an answer. */
  | "success"
  /** The engine failed: connection, timeout, 5xx, broken stream. */
  | "failure"
  /** The call says nothing about the engine: the client left, we gave up, or it was never sent. */
  | "neutral";

/** What passive ejection may do. */
export interface OutlierDetectionOptions {
  /** Failures in a row that eject a replica. @default 3, as Ray's health checks */
  readonly consecutiveFailures: number;
  /** Milliseconds of the first ejection; each further one doubles it. @default 5000 */
  readonly baseEjectionMs: number;
  /** Milliseconds at most. @default 60000 */
  readonly maxEjectionMs: number;
}

export const defaultOutlierDetection: OutlierDetectionOptions = {
  consecutiveFailures: 3,
  baseEjectionMs: 5_000,
  maxEjectionMs: 60_000,
};

/** `probing`: one request at a time may try whether the replica is well again. */
export type ReplicaHealthState = "healthy" | "ejected" | "probing" | "unhealthy";

/**
 * Health of one replica from two sources: outcomes of real calls (passive) and health checks (active).
 *
 * A replica that is `unhealthy` by its checks comes back only by a check; one that is `ejected` by outcomes comes
 * back through one probing request, always, however often it failed.
 */
export class ReplicaHealth {
  readonly #clock: Clock;
  readonly #options: OutlierDetectionOptions;
  readonly #onChange: () => void;
  #state: ReplicaHealthState = "healthy";
  #failures = 0;
  #ejections = 0;
  #totalEjections = 0;
  #timer: Timer | undefined;
  #disposed = false;

  constructor(clock: Clock, options: OutlierDetectionOptions, onChange: () => void) {
    this.#clock = clock;
    this.#options = options;
    this.#onChange = onChange;
  }

  get state(): ReplicaHealthState {
    return this.#state;
  }

  /** How often outcomes ejected it since it was last well for sure. */
  get ejections(): number {
    return this.#ejections;
  }

  /** How often outcomes ejected it, ever. */
  get totalEjections(): number {
    return this.#totalEjections;
  }

  /**
   * How a call ended.
   *
   * @param probe the call was let through to find out whether the replica is well again. While probing only such a
   *   failure counts: the others began before the ejection and say nothing new.
   */
  record(outcome: CallOutcome, probe = false): void {
    if (outcome === "neutral" || this.#disposed) return;
    if (outcome === "success") {
      this.#failures = 0;
      if (this.#state === "probing" || this.#state === "ejected") this.#recover();
      return;
    }
    this.#failures += 1;
    if (this.#state === "probing" ? probe : this.#isSpent()) this.#eject();
  }

  /** The active check's verdict: after its own threshold of failures, or after a success. */
  setChecked(healthy: boolean): void {
    if (this.#disposed) return;
    if (healthy) {
      if (this.#state === "unhealthy") this.#recover();
      return;
    }
    if (this.#state !== "unhealthy") this.#enter("unhealthy");
  }

  /** Stops its timer; from now on nothing changes any more. */
  dispose(): void {
    this.#disposed = true;
    this.#timer?.cancel();
  }

  #isSpent(): boolean {
    return this.#state === "healthy" && this.#failures >= this.#options.consecutiveFailures;
  }

  #eject(): void {
    const duration = Math.min(
      this.#options.baseEjectionMs * 2 ** this.#ejections,
      this.#options.maxEjectionMs,
    );
    this.#ejections += 1;
    this.#totalEjections += 1;
    this.#enter("ejected");
    this.#timer = this.#clock.setTimer(() => {
      if (this.#state === "ejected") this.#enter("probing");
    }, duration);
  }

  #recover(): void {
    this.#failures = 0;
    this.#ejections = 0;
    this.#enter("healthy");
  }

  #enter(state: ReplicaHealthState): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#state = state;
    this.#onChange();
  }
}
