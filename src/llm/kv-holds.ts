import type { Clock } from "../internal/clock.ts";
import type { Replica } from "../replicas/replica.ts";

/** How a hold on KV blocks ended. */
export type KvHoldEnd =
  /** Decode produced a token, so it has read the blocks. */
  | "handed_off"
  /** Decode refused or dropped the request, upon which the engines free the blocks early. */
  | "released"
  /** The handle was too old to be sent and was discarded; the engine's lease frees the blocks. */
  | "expired"
  /** Nobody will read the blocks; they stay pinned until the engine's lease ends. */
  | "stranded";

export interface KvHoldCounts {
  readonly opened: number;
  readonly open: number;
  readonly ended: Readonly<Record<KvHoldEnd, number>>;
}

/** Keeps account of KV blocks pinned on prefill replicas between prefill's answer and decode's pickup. */
export class KvHolds {
  readonly #clock: Clock;
  readonly #usableMs: number;
  readonly #ended: Record<KvHoldEnd, number> = { handed_off: 0, released: 0, expired: 0, stranded: 0 };
  #opened = 0;
  #open = 0;

  /** @param usableMs milliseconds a handle may be old when it is sent: the engine's lease times the safety share */
  constructor(clock: Clock, usableMs: number) {
    this.#clock = clock;
    this.#usableMs = usableMs;
  }

  get counts(): KvHoldCounts {
    return { opened: this.#opened, open: this.#open, ended: { ...this.#ended } };
  }

  open(replica: Replica): KvHold {
    this.#opened += 1;
    this.#open += 1;
    replica.addHold();
    return new KvHold(this, replica, this.#clock, this.#clock.now() + this.#usableMs);
  }

  /** @internal */
  ended(how: KvHoldEnd): void {
    this.#open -= 1;
    this.#ended[how] += 1;
  }
}

/** Blocks pinned for one request. Its handle may be sent once, in time, and ends exactly once. */
export class KvHold {
  readonly #holds: KvHolds;
  readonly #replica: Replica;
  readonly #clock: Clock;
  readonly #deadline: number;
  #isOpen = true;

  constructor(holds: KvHolds, replica: Replica, clock: Clock, deadline: number) {
    this.#holds = holds;
    this.#replica = replica;
    this.#clock = clock;
    this.#deadline = deadline;
  }

  /** True when the handle is too old to be sent. */
  get late(): boolean {
    return this.#clock.now() > this.#deadline;
  }

  /** Only the first call counts. */
  end(how: KvHoldEnd): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#holds.ended(how);
    this.#replica.removeHold();
  }
}
