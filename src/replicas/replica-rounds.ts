import PQueue from "p-queue";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import type { Clock, Timer } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import type { Replica } from "./replica.ts";

/** What is done on every replica now and then, and how often. */
export interface ReplicaRoundsInit {
  readonly clock: Clock;
  readonly random: Random;
  /** Milliseconds from the start of one visit to the start of the next. */
  readonly periodMs: number;
  /** The period is multiplied by a random number between these, so that many processes do not visit in step. */
  readonly jitter: readonly [number, number];
  /** `now`: the first visit is made as soon as a replica joins; `later`: within one period. */
  readonly first: "now" | "later";
  /** Visits at a time. */
  readonly concurrency: number;
  /**
   * One visit. Ends early when the token is cancelled, because the replica left or everything stops. What it throws
   * is reported with `warn`; the rounds go on.
   */
  readonly visit: (replica: Replica, cancel: CancelToken) => Promise<void>;
  readonly warn: (message: string) => void;
}

interface Round {
  readonly replica: Replica;
  readonly cancel: CancelToken;
  timer: Timer | undefined;
  visiting: Promise<void> | undefined;
}

/**
 * Visits every replica of a set again and again: bounded in number, never twice at a time the same replica. Health
 * checks, generation probes and load scrapes are such rounds.
 */
export class ReplicaRounds {
  readonly #init: ReplicaRoundsInit;
  readonly #queue: PQueue;
  readonly #rounds = new Map<Replica, Round>();
  #stopped = false;

  constructor(init: ReplicaRoundsInit) {
    this.#init = init;
    this.#queue = new PQueue({ concurrency: init.concurrency });
  }

  /** Begins with replicas that are new among these, and is done with those that are missing. */
  sync(replicas: readonly Replica[]): void {
    if (this.#stopped) return;
    const present = new Set(replicas);
    for (const round of this.#rounds.values()) if (!present.has(round.replica)) this.#leave(round);
    for (const replica of present) if (!this.#rounds.has(replica)) this.#join(replica);
  }

  /** Visits every replica now, or waits for the visit that is under way. Resolves when all were visited. */
  async visitNow(): Promise<void> {
    await Promise.all([...this.#rounds.values()].map((round) => this.#visit(round)));
  }

  /** Ends all visits at once. Resolves when nothing of them is left. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const round of this.#rounds.values()) this.#leave(round);
    await this.#queue.onIdle();
  }

  #join(replica: Replica): void {
    const round: Round = { replica, cancel: new CancelToken(), timer: undefined, visiting: undefined };
    this.#rounds.set(replica, round);
    if (this.#init.first === "now") void this.#visit(round);
    else this.#schedule(round, this.#init.random.next() * this.#init.periodMs);
  }

  #leave(round: Round): void {
    this.#rounds.delete(round.replica);
    round.timer?.cancel();
    round.cancel.cancel(new RequestCancelledError("its replica is not looked after any more"));
  }

  #visit(round: Round): Promise<void> {
    round.timer?.cancel();
    round.visiting ??= this.#queue.add(() => this.#run(round));
    return round.visiting;
  }

  async #run(round: Round): Promise<void> {
    const { clock, random, periodMs, jitter, visit, warn } = this.#init;
    const startMs = clock.now();
    try {
      if (!round.cancel.cancelled) await visit(round.replica, round.cancel);
    } catch (error) {
      if (!round.cancel.cancelled) warn(`A look at ${round.replica.fullName} failed: ${String(error)}`);
    }
    round.visiting = undefined;
    if (round.cancel.cancelled) return;
    const factor = jitter[0] + random.next() * (jitter[1] - jitter[0]);
    this.#schedule(round, Math.max(0, startMs + periodMs * factor - clock.now()));
  }

  #schedule(round: Round, delayMs: number): void {
    round.timer = this.#init.clock.setTimer(() => void this.#visit(round), delayMs);
  }
}
