import { setMaxListeners } from "node:events";

import type { Clock } from "../internal/clock.ts";
import { pause } from "../internal/pause.ts";
import type { Random } from "../internal/random.ts";
import type { ChatTurnMessage, Conversation } from "./conversation.ts";
import { drawInterval } from "./length-distribution.ts";
import type { Measurement } from "./measurement.ts";
import type { BenchmarkTarget } from "./openai-target.ts";

/** When conversations begin. */
export type LoadShape =
  /** So many at a time, the next when one is over: load follows the speed of the target. */
  | { readonly kind: "closed"; readonly concurrency: number }
  /** At random times, so many a second on average, however slow the target is. */
  | { readonly kind: "open"; readonly perSecond: number }
  /** At the times that they name. */
  | { readonly kind: "trace" };

/** What a run is made of. */
export interface LoadRunOptions {
  readonly target: BenchmarkTarget;
  readonly shape: LoadShape;
  /** The next conversation; undefined when there is none any more. */
  readonly next: (atMs?: number) => Conversation | undefined;
  /** Conversations to begin at most. */
  readonly count?: number | undefined;
  /** Milliseconds after which none is begun any more; those that run may end. */
  readonly durationMs?: number | undefined;
  /** Milliseconds between an answer and the next turn. */
  readonly thinkMs: number;
  readonly clock: Clock;
  readonly random: Random;
  /** Ends the run at once; what was measured until then counts. */
  readonly signal: AbortSignal;
}

/** How far a run has come. */
export interface LoadProgress {
  readonly elapsedMs: number;
  readonly begun: number;
  readonly inFlight: number;
  readonly succeeded: number;
  readonly failed: number;
}

/** A timer of Node for longer than this fires at once. */
const longestTimerMs = 2 ** 31 - 1;

/** Puts load on a target and measures. Use once. */
export class LoadRun {
  readonly #options: LoadRunOptions;
  readonly #measurements: Measurement[] = [];
  readonly #running = new Set<Promise<void>>();
  #startedMs = 0;
  #begun = 0;
  #inFlight = 0;
  #succeeded = 0;

  constructor(options: LoadRunOptions) {
    this.#options = options;
  }

  get progress(): LoadProgress {
    return {
      elapsedMs: this.#now(),
      begun: this.#begun,
      inFlight: this.#inFlight,
      succeeded: this.#succeeded,
      failed: this.#measurements.length - this.#succeeded,
    };
  }

  /** Runs to the end of the last request. */
  async run(): Promise<readonly Measurement[]> {
    this.#startedMs = this.#options.clock.now();
    const { shape, signal } = this.#options;
    // Every request that runs listens; Node would take more than ten for a leak.
    setMaxListeners(0, signal);
    if (shape.kind === "closed") {
      await Promise.all(Array.from({ length: shape.concurrency }, () => this.#worker()));
    } else {
      await this.#arrivals(shape);
      await Promise.all(this.#running);
    }
    return this.#measurements;
  }

  /** One place of a closed loop. */
  async #worker(): Promise<void> {
    while (this.#mayBegin(this.#now())) {
      const conversation = this.#options.next();
      if (conversation === undefined) return;
      this.#begun += 1;
      await this.#converse(conversation, undefined);
    }
  }

  /** Begins conversations when they are due, never waiting for one to end. */
  async #arrivals(shape: Exclude<LoadShape, { readonly kind: "closed" }>): Promise<void> {
    let atMs = 0;
    for (;;) {
      if (shape.kind === "open") atMs += drawInterval(shape.perSecond, this.#options.random);
      if (!this.#mayBegin(atMs)) return;
      const conversation = this.#options.next(shape.kind === "open" ? atMs : undefined);
      if (conversation === undefined) return;
      atMs = conversation.atMs ?? atMs;
      if (!this.#mayBegin(atMs)) return;
      await this.#until(atMs);
      if (this.#options.signal.aborted) return;
      this.#begun += 1;
      const running = this.#converse(conversation, atMs).finally(() => this.#running.delete(running));
      this.#running.add(running);
    }
  }

  #mayBegin(atMs: number): boolean {
    const { count, durationMs, signal } = this.#options;
    return (
      !signal.aborted &&
      (count === undefined || this.#begun < count) &&
      (durationMs === undefined || atMs < durationMs)
    );
  }

  /** @param intendedMs when its first turn was due; undefined: now */
  async #converse({ opening, turns }: Conversation, intendedMs: number | undefined): Promise<void> {
    const messages: ChatTurnMessage[] = [...opening];
    let dueMs = intendedMs;
    for (const [index, { content, outputTokens }] of turns.entries()) {
      messages.push({ role: "user", content });
      const { text, error, endMs } = await this.#request(messages, outputTokens, dueMs);
      // Without an answer there is nothing to go on from.
      if (error !== undefined || this.#options.signal.aborted) return;
      messages.push({ role: "assistant", content: text });
      if (index === turns.length - 1 || this.#options.thinkMs === 0) dueMs = undefined;
      else {
        dueMs = endMs + this.#options.thinkMs;
        await this.#until(dueMs);
        if (this.#options.signal.aborted) return;
      }
    }
  }

  async #request(
    messages: readonly ChatTurnMessage[],
    outputTokens: number,
    intendedMs: number | undefined,
  ): Promise<{ readonly text: string; readonly error: string | undefined; readonly endMs: number }> {
    const { target, signal } = this.#options;
    const sentMs = this.#now();
    let firstTokenMs: number | undefined;
    let lastMs = 0;
    const gapsMs: number[] = [];
    this.#inFlight += 1;
    const answer = await target.send(
      { messages: [...messages], outputTokens },
      () => {
        const now = this.#now();
        if (firstTokenMs === undefined) firstTokenMs = now;
        else gapsMs.push(now - lastMs);
        lastMs = now;
      },
      signal,
    );
    this.#inFlight -= 1;
    const endMs = this.#now();
    const { text, promptTokens, error } = answer;
    if (error === undefined) this.#succeeded += 1;
    this.#measurements.push({
      intendedMs: intendedMs ?? sentMs,
      sentMs,
      firstTokenMs,
      endMs,
      gapsMs,
      promptTokens,
      outputTokens: answer.outputTokens ?? (firstTokenMs === undefined ? 0 : gapsMs.length + 1),
      error,
    });
    return { text, error, endMs };
  }

  /** Waits until that time of the run, or until it is stopped. */
  async #until(atMs: number): Promise<void> {
    const { clock, signal } = this.#options;
    for (let delayMs = atMs - this.#now(); delayMs > 0 && !signal.aborted; delayMs = atMs - this.#now()) {
      await pause(clock, Math.min(delayMs, longestTimerMs), signal, { keepAlive: true });
    }
  }

  #now(): number {
    return this.#options.clock.now() - this.#startedMs;
  }
}
