import type { LegTrace } from "../observability/request-trace.ts";

const windowMs = 60_000;
const slotMs = 10_000;
const slots = windowMs / slotMs;

/** How calls to one replica went within the last minute. */
export interface RecentCalls {
  readonly calls: number;
  readonly failures: number;
  /** Error code of the last failure; null when there was none. */
  readonly lastFailure: string | null;
}

interface Tally {
  readonly calls: number[];
  readonly failures: number[];
  lastFailure: string | null;
}

const none: RecentCalls = { calls: 0, failures: 0, lastFailure: null };

/** Calls to every replica within the last minute, in steps of ten seconds. */
export class ReplicaCalls {
  readonly #tallies = new Map<string, Tally>();
  #slot: number | undefined;

  /** Counts a call that is over. A client that leaves, or asks for what can't be, is no failure of an engine. */
  add({ deployment, replica, failure, clientFault }: LegTrace, nowMs: number): void {
    const slot = this.#turnTo(nowMs);
    const key = keyOf(deployment, replica);
    let tally = this.#tallies.get(key);
    if (tally === undefined) {
      tally = { calls: zeros(), failures: zeros(), lastFailure: null };
      this.#tallies.set(key, tally);
    }
    tally.calls[slot]! += 1;
    if (failure === undefined || clientFault || failure === "client_closed_request") return;
    tally.failures[slot]! += 1;
    tally.lastFailure = failure;
  }

  of(deployment: string, replica: string, nowMs: number): RecentCalls {
    this.#turnTo(nowMs);
    const tally = this.#tallies.get(keyOf(deployment, replica));
    if (tally === undefined) return none;
    const failures = sum(tally.failures);
    return { calls: sum(tally.calls), failures, lastFailure: failures === 0 ? null : tally.lastFailure };
  }

  /** Empties the slots that time has passed over, and forgets replicas nobody called for a minute. */
  #turnTo(nowMs: number): number {
    const slot = Math.floor(nowMs / slotMs);
    this.#slot ??= slot;
    const passed = Math.min(slot - this.#slot, slots);
    if (passed > 0) {
      for (const [key, { calls, failures }] of this.#tallies) {
        for (let step = 0; step < passed; step += 1) {
          calls[(slot - step) % slots] = 0;
          failures[(slot - step) % slots] = 0;
        }
        if (sum(calls) === 0) this.#tallies.delete(key);
      }
      this.#slot = slot;
    }
    return this.#slot % slots;
  }
}

function zeros(): number[] {
  return Array.from({ length: slots }, () => 0);
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

function keyOf(deployment: string, replica: string): string {
  return `${deployment}\n${replica}`;
}
