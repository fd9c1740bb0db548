import type { KvLedger } from "./kv-ledger.ts";

/** A request that wants to run. */
export interface SchedulerJob {
  /** KV blocks it needs to run. */
  readonly blocks: number;
  /** Called once when it may run, with its blocks. */
  run(blockIds: readonly number[]): void;
}

/**
 * Which requests run and which wait: first come, first served, by free blocks and by vLLM's `max_num_seqs`.
 * There is no admission limit, as there is none in vLLM.
 */
export class EngineScheduler {
  readonly #ledger: KvLedger;
  readonly #maxRunning: number;
  readonly #waiting = new Set<SchedulerJob>();
  #running = 0;
  #paused = false;
  #draining = false;

  constructor(ledger: KvLedger, maxRunning: number) {
    this.#ledger = ledger;
    this.#maxRunning = maxRunning;
    ledger.onFreed = () => this.#drain();
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  submit(job: SchedulerJob): void {
    this.#waiting.add(job);
    this.#drain();
  }

  /** Takes a job back. True when it was still waiting. */
  withdraw(job: SchedulerJob): boolean {
    return this.#waiting.delete(job);
  }

  /** A running job is over; its blocks go back unless it passed them on (`blockIds` empty). */
  finish(blockIds: readonly number[]): void {
    this.#running--;
    if (blockIds.length > 0) this.#ledger.free(blockIds);
    else this.#drain();
  }

  /** While paused nothing new runs: a sleeping engine. */
  setPaused(paused: boolean): void {
    this.#paused = paused;
    if (!paused) this.#drain();
  }

  #drain(): void {
    // A job that runs may finish, free blocks and come back here: once is enough.
    if (this.#draining) return;
    this.#draining = true;
    try {
      for (const job of this.#waiting) {
        if (this.#paused || this.#running >= this.#maxRunning) break;
        const blockIds = this.#ledger.allocate(job.blocks);
        if (blockIds === undefined) break;
        this.#waiting.delete(job);
        this.#running++;
        job.run(blockIds);
      }
    } finally {
      this.#draining = false;
    }
  }
}
