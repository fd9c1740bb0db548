import type { Endpoint } from "../config/endpoint.ts";
import type { ScalingContext } from "../config/scaling-target.ts";
import { pause } from "../internal/pause.ts";
import { EngineProcess, type EngineProcessInit } from "./engine-process.ts";

/** What one start of an engine takes. */
export interface EngineLaunch extends Pick<EngineProcessInit, "words" | "env"> {
  readonly endpoint: Endpoint;
}

/** What an {@link EngineSlot} is made from. */
export interface EngineSlotInit {
  /** For messages, for example `engine 2`. */
  readonly name: string;
  readonly context: ScalingContext;
  /** Made anew for every start: a port may have been taken meanwhile. */
  readonly launch: () => Promise<EngineLaunch>;
  readonly cwd: string | undefined;
  readonly startupTimeoutMs: number;
  readonly stopTimeoutMs: number;
  readonly onLine: EngineProcessInit["onLine"];
  /** Its {@link EngineSlot.endpoint} came or went. */
  readonly onChange: () => void;
}

const healthPollMs = 500;
const healthTimeoutMs = 5_000;
/** Health checks an engine that was ready may fail in a row. Ray's `REPLICA_HEALTH_CHECK_UNHEALTHY_THRESHOLD`. */
const hungAfterChecks = 3;
const firstPauseMs = 1_000;
const longestPauseMs = 60_000;
/** An engine that ran this long was well: its end begins a new count of failures. */
const provenMs = 60_000;

/** A place for one engine: starts it, waits until it answers `/health`, starts it again when it ends by itself or hangs. */
export class EngineSlot {
  readonly #init: EngineSlotInit;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #endpoint: Endpoint | undefined;
  #process: EngineProcess | undefined;
  #readySinceMs: number | undefined;
  #started: Endpoint | undefined;
  /** The attempt to leave that counts. */
  #leaving: object | undefined;

  constructor(init: EngineSlotInit) {
    this.#init = init;
    this.#running = this.#run();
  }

  /** Where its engine answers; undefined while none is ready. */
  get endpoint(): Endpoint | undefined {
    return this.#endpoint;
  }

  /**
   * Takes its engine out of service, waits until nobody uses it, and ends it.
   *
   * @returns false when it was asked to {@link stay} meanwhile, and does
   */
  async leave(): Promise<boolean> {
    const { context } = this.#init;
    const leaving = this.#endpoint;
    const attempt = {};
    this.#leaving = attempt;
    if (leaving !== undefined) {
      this.#setEndpoint(undefined);
      await Promise.race([context.drain(({ url }) => url === leaving.url), this.#process?.exited]);
      // What it stayed for may run still, and only a later attempt waits for that.
      if (this.#leaving !== attempt) return false;
    }
    this.#stop.abort();
    await this.#process?.terminate();
    await this.#running;
    return true;
  }

  /** Keeps an engine that is leaving and still drains. @returns false when it is too late */
  stay(): boolean {
    const ready = this.#readySinceMs !== undefined && this.#process?.running === true;
    if (this.#leaving === undefined || this.#stop.signal.aborted || !ready) return false;
    this.#leaving = undefined;
    this.#setEndpoint(this.#started);
    return true;
  }

  async #run(): Promise<void> {
    const { context, name } = this.#init;
    const { signal } = this.#stop;
    let failures = 0;
    while (!signal.aborted) {
      const reason = await this.#once().catch((error: unknown) =>
        error instanceof Error ? error.message : String(error),
      );
      const ranMs = this.#readySinceMs === undefined ? 0 : context.clock.now() - this.#readySinceMs;
      this.#readySinceMs = undefined;
      this.#setEndpoint(undefined);
      if (signal.aborted || this.#leaving !== undefined) return;
      failures = ranMs >= provenMs ? 1 : failures + 1;
      const waitMs = Math.min(firstPauseMs * 2 ** (failures - 1), longestPauseMs);
      context.warn(
        `${name} of "${context.deployment}" ended and is started again in ${waitMs / 1000} s: ${reason}`,
      );
      await pause(context.clock, waitMs, signal);
    }
  }

  /** From one start to its end. @returns why it ended */
  async #once(): Promise<string> {
    const { context, launch, cwd, startupTimeoutMs, stopTimeoutMs, onLine } = this.#init;
    const { words, env, endpoint } = await launch();
    if (this.#stop.signal.aborted) return "";
    const { clock } = context;
    const engine = new EngineProcess({ words, env, cwd, onLine, stopTimeoutMs, clock });
    this.#process = engine;
    const began = new AbortController();
    const timer = clock.setTimer(() => began.abort(), startupTimeoutMs);
    const over = engine.exited.finally(() => began.abort());
    const ready = await this.#untilHealthy(endpoint, AbortSignal.any([began.signal, this.#stop.signal]));
    timer.cancel();
    if (ready) {
      this.#readySinceMs = clock.now();
      this.#started = endpoint;
      if (this.#leaving === undefined) this.#setEndpoint(endpoint);
      if (await this.#untilHung(endpoint, AbortSignal.any([began.signal, this.#stop.signal]))) {
        this.#setEndpoint(undefined);
        await engine.terminate();
        return `it failed ${hungAfterChecks} health checks in a row; ${await over}`;
      }
    } else if (!this.#stop.signal.aborted && engine.running) {
      await engine.terminate();
      return `it was not ready within ${startupTimeoutMs / 1000} s; ${await over}`;
    }
    return over;
  }

  /** @returns false when the signal aborted before */
  async #untilHealthy(endpoint: Endpoint, signal: AbortSignal): Promise<boolean> {
    const { context } = this.#init;
    while (!signal.aborted) {
      if (await this.#isHealthy(endpoint, healthTimeoutMs, signal)) return !signal.aborted;
      await pause(context.clock, healthPollMs, signal);
    }
    return false;
  }

  /** Checks an engine that was ready. @returns true when it hangs, false when the signal aborted before */
  async #untilHung(endpoint: Endpoint, signal: AbortSignal): Promise<boolean> {
    const { clock, healthCheck } = this.#init.context;
    for (let failures = 0; failures < hungAfterChecks;) {
      await pause(clock, healthCheck.periodMs, signal);
      if (signal.aborted) return false;
      failures = (await this.#isHealthy(endpoint, healthCheck.timeoutMs, signal)) ? 0 : failures + 1;
    }
    return !signal.aborted;
  }

  async #isHealthy(endpoint: Endpoint, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    try {
      const question = { method: "GET", path: "/health", timeoutMs, signal } as const;
      return (await this.#init.context.call(endpoint, question)).status === 200;
    } catch {
      // It does not listen, or does not answer.
      return false;
    }
  }

  #setEndpoint(endpoint: Endpoint | undefined): void {
    if (this.#endpoint === endpoint) return;
    this.#endpoint = endpoint;
    this.#init.onChange();
  }
}
