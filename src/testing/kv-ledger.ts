import type { Clock, Timer } from "../internal/clock.ts";

/** Why a claim on pinned KV was refused. */
export type KvRefusal =
  | "unknown"
  | "consumed"
  | "expired"
  | "released"
  | "wrong_engine"
  | "wrong_blocks"
  | "wrong_prompt"
  | "wrong_shape"
  | "wrong_lease_token";

/** How a handle ended. `lost`: the engine that had issued it went down. */
export type KvOutcome = "consumed" | "expired" | "released" | "lost";

/** KV of one prefilled prompt, kept until decode fetches it or its lease ends. */
export interface PinnedKv {
  /** vLLM's internal request id, `remote_request_id` of the handle. */
  readonly requestId: string;
  readonly blockIds: readonly number[];
  /** Identifies the prompt whose KV this is. */
  readonly fingerprint: string;
  readonly promptTokens: number;
  readonly tensorParallelSize: number;
  /** Text of the 64-bit integer that was sent along, when there was one. */
  readonly leaseToken: string | undefined;
}

/** What decode shows to fetch KV. */
export interface KvClaim {
  /** Undefined with connectors that find the engine by its address alone. */
  readonly engineId: string | undefined;
  /** Undefined for handles in the old format, which carried none; the blocks identify the KV then. */
  readonly requestId: string | undefined;
  /** Undefined with connectors that leave the blocks to prefill. */
  readonly blockIds: readonly number[] | undefined;
  readonly fingerprint: string;
  readonly tensorParallelSize: number;
  readonly promptTokens: number | undefined;
  readonly leaseToken: string | undefined;
}

interface Lease {
  readonly kv: PinnedKv;
  readonly timer: Timer;
}

/** Claims that were refused, in order. */
export interface RejectedClaim {
  readonly claim: KvClaim;
  readonly reason: KvRefusal;
}

const endedHandlesKept = 10_000;

/**
 * The block accounts of one mock engine: which blocks are free, which belong to running requests, which are
 * pinned for a decode that did not come yet.
 */
export class KvLedger {
  readonly blocksTotal: number;
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #free: number[] = [];
  readonly #leases = new Map<string, Lease>();
  readonly #ended = new Map<string, KvOutcome>();
  readonly #rejected: RejectedClaim[] = [];
  readonly #counts = { issued: 0, consumed: 0, expired: 0, released: 0, lost: 0 };
  readonly #pinWaiters = new Map<string, () => void>();
  #drainWaiters: (() => void)[] = [];
  /** Called whenever blocks become free. */
  onFreed: (() => void) | undefined;

  /**
   * @param blocks how many blocks there are, numbered from 1
   * @param leaseMs how long KV stays pinned without a sign of decode (vLLM's `kv_lease_duration`)
   */
  constructor(clock: Clock, blocks: number, leaseMs: number) {
    this.#clock = clock;
    this.#leaseMs = leaseMs;
    this.blocksTotal = blocks;
    for (let id = blocks; id >= 1; id--) this.#free.push(id);
  }

  /** Handles waiting for their decode now. */
  get pinned(): readonly PinnedKv[] {
    return Array.from(this.#leases.values(), (lease) => lease.kv);
  }

  /** Handles given out so far. */
  get issued(): number {
    return this.#counts.issued;
  }

  /** Handles whose KV a decode fetched. */
  get consumed(): number {
    return this.#counts.consumed;
  }

  /** Handles whose lease ended before a decode came. */
  get expired(): number {
    return this.#counts.expired;
  }

  /** Handles given back unused: decode refused the request, or was cancelled before it ran. */
  get released(): number {
    return this.#counts.released;
  }

  /** Handles that were open when the engine crashed. */
  get lost(): number {
    return this.#counts.lost;
  }

  /** Claims refused: reused, expired, unknown or not matching. */
  get rejected(): readonly RejectedClaim[] {
    return this.#rejected;
  }

  /** Blocks not free: of running requests and of pinned handles. */
  get blocksInUse(): number {
    return this.blocksTotal - this.#free.length;
  }

  /** Takes blocks, or undefined while there are not enough. */
  allocate(count: number): readonly number[] | undefined {
    if (count > this.#free.length) return undefined;
    return this.#free.splice(this.#free.length - count, count).toReversed();
  }

  /** Gives blocks back. */
  free(blockIds: readonly number[]): void {
    for (let index = blockIds.length - 1; index >= 0; index--) this.#free.push(blockIds[index] as number);
    if (blockIds.length > 0) this.onFreed?.();
  }

  /** Pins blocks, already taken, until fetched or until the lease ends. */
  pin(kv: PinnedKv): void {
    this.#end(kv.requestId, "released");
    const timer = this.#clock.setTimer(() => {
      this.#end(kv.requestId, "expired");
    }, this.#leaseMs);
    this.#counts.issued++;
    this.#leases.set(kv.requestId, { kv, timer });
    const waiting = this.#pinWaiters.get(kv.requestId);
    this.#pinWaiters.delete(kv.requestId);
    waiting?.();
  }

  /** Calls `onPinned` once this KV is pinned or was before; a release before that cancels it. */
  whenPinned(requestId: string, onPinned: () => void): void {
    if (this.#leases.has(requestId) || this.#ended.has(requestId)) onPinned();
    else this.#pinWaiters.set(requestId, onPinned);
  }

  /** Decode waits for this KV in its queue: the lease starts over. */
  heartbeat(requestId: string): void {
    this.#leases.get(requestId)?.timer.refresh();
  }

  /** Ends a lease before its time, as if it had run out. */
  expire(requestId: string): void {
    this.#end(requestId, "expired");
  }

  /** Decode will not fetch this KV. True when it was pinned. */
  release(requestId: string): boolean {
    this.#pinWaiters.delete(requestId);
    return this.#end(requestId, "released");
  }

  /** Fetches KV: frees it, and returns undefined; or says why it can't be had. A handle is good for one fetch. */
  consume(engineId: string, claim: KvClaim): KvRefusal | undefined {
    const reason = this.#check(engineId, claim);
    if (reason === undefined) {
      this.#end(this.#find(claim)?.kv.requestId ?? "", "consumed");
    } else {
      this.#rejected.push({ claim, reason });
    }
    return reason;
  }

  /** Resolves when no handle is pinned: every one was fetched, released, or ran out. */
  async drained(): Promise<void> {
    if (this.#leases.size > 0) await new Promise<void>((resolve) => this.#drainWaiters.push(resolve));
  }

  /** The engine went down: everything pinned is gone, every block is free. */
  lose(): void {
    for (const requestId of this.#leases.keys()) this.#end(requestId, "lost");
  }

  /**
   * Throws unless every handle given out came to its end and every block is free.
   *
   * @throws Error that names what is still open
   */
  assertBalanced(): void {
    const problems: string[] = [];
    const { issued, consumed, expired, released, lost } = this.#counts;
    if (this.#leases.size > 0)
      problems.push(`${this.#leases.size} pinned (${[...this.#leases.keys()].join(", ")})`);
    if (this.blocksInUse > 0) problems.push(`${this.blocksInUse} blocks in use`);
    if (issued !== consumed + expired + released + lost + this.#leases.size) {
      problems.push(
        `${issued} issued is not ${consumed} consumed + ${expired} expired + ${released} released + ${lost} lost`,
      );
    }
    if (new Set(this.#free).size !== this.#free.length) problems.push("a block is free twice");
    if (problems.length > 0) throw new Error(`KV ledger is not balanced: ${problems.join("; ")}`);
  }

  #find(claim: KvClaim): Lease | undefined {
    if (claim.requestId !== undefined) return this.#leases.get(claim.requestId);
    for (const lease of this.#leases.values()) if (lease.kv.blockIds[0] === claim.blockIds?.[0]) return lease;
    return undefined;
  }

  #check(engineId: string, claim: KvClaim): KvRefusal | undefined {
    if (claim.engineId !== undefined && claim.engineId !== engineId) return "wrong_engine";
    const lease = this.#find(claim);
    if (lease === undefined) {
      const outcome = this.#ended.get(claim.requestId ?? "");
      return outcome === undefined || outcome === "lost" ? "unknown" : outcome;
    }
    const { kv } = lease;
    if (claim.blockIds !== undefined) {
      if (kv.blockIds.length !== claim.blockIds.length) return "wrong_blocks";
      if (kv.blockIds.some((id, index) => id !== claim.blockIds?.[index])) return "wrong_blocks";
    }
    if (kv.fingerprint !== claim.fingerprint) return "wrong_prompt";
    if (kv.leaseToken !== claim.leaseToken) return "wrong_lease_token";
    if (kv.tensorParallelSize !== claim.tensorParallelSize) return "wrong_shape";
    if (claim.promptTokens !== undefined && kv.promptTokens !== claim.promptTokens) return "wrong_shape";
    return undefined;
  }

  #end(requestId: string, outcome: KvOutcome): boolean {
    const lease = this.#leases.get(requestId);
    if (lease === undefined) return false;
    lease.timer.cancel();
    this.#leases.delete(requestId);
    this.#counts[outcome]++;
    if (this.#ended.size >= endedHandlesKept) {
      const oldest = this.#ended.keys().next();
      if (oldest.done !== true) this.#ended.delete(oldest.value);
    }
    this.#ended.set(requestId, outcome);
    this.free(lease.kv.blockIds);
    if (this.#leases.size === 0) {
      const waiters = this.#drainWaiters;
      this.#drainWaiters = [];
      for (const resolve of waiters) resolve();
    }
    return true;
  }
}
