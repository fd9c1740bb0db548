import type { ScalingTarget } from "../config/scaling-target.ts";
import type { Clock, Timer } from "../internal/clock.ts";

/** What a {@link ScaleDriver} is made from. */
export interface ScaleDriverInit {
  readonly deployment: string;
  readonly target: Pick<ScalingTarget, "setReplicas">;
  readonly clock: Clock;
  readonly warn: (message: string) => void;
}

const firstPauseMs = 1_000;
const longestPauseMs = 30_000;

/**
 * Brings a number of replicas to a scaling target: one call at a time, the newest number, again after a failure with
 * pauses from 1 to 30 seconds.
 */
export class ScaleDriver {
  readonly #init: ScaleDriverInit;
  readonly #stop = new AbortController();
  #wanted: number | undefined;
  #applied: number | undefined;
  #running: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  constructor(init: ScaleDriverInit) {
    this.#init = init;
  }

  /** Wants so many from now on. */
  want(replicas: number): void {
    if (this.#stop.signal.aborted) return;
    this.#wanted = replicas;
    this.#wake?.();
    // A loop with nothing to do would end before it could be remembered, and be taken for one that runs.
    if (this.#running === undefined && replicas !== this.#applied) this.#running = this.#run();
  }

  /** Takes note of what the target has already. */
  assume(replicas: number): void {
    this.#applied = replicas;
  }

  /** Aborts the call that is under way; resolves when it is over. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { target, deployment, warn } = this.#init;
    const { signal } = this.#stop;
    let failures = 0;
    while (this.#wanted !== this.#applied && !signal.aborted) {
      const wanted = this.#wanted!;
      try {
        await target.setReplicas(wanted, signal);
        this.#applied = wanted;
        failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        failures += 1;
        if (failures === 1) {
          warn(`The scaling target of "${deployment}" did not take ${wanted} replicas: ${messageOf(error)}`);
        }
        await this.#pause(Math.min(firstPauseMs * 2 ** (failures - 1), longestPauseMs));
      }
    }
    this.#running = undefined;
  }

  /** Ends early when another number is wanted. */
  async #pause(ms: number): Promise<void> {
    let timer: Timer | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = this.#init.clock.setTimer(resolve, ms);
    });
    this.#wake = undefined;
    timer?.cancel();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
