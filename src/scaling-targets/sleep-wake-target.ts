import type { Discovery, Endpoint, EndpointInit } from "../config/endpoint.ts";
import { parseEndpoints } from "../config/endpoint.ts";
import { anything, number, objectOf, withDefault } from "../config/lax-schema.ts";
import { parseConfig } from "../config/parse-config.ts";
import type { ScalingContext, ScalingTarget } from "../config/scaling-target.ts";
import { SnapshotStream } from "../discovery/snapshot-stream.ts";
import { pause } from "../internal/pause.ts";
import { OneDeployment } from "./one-deployment.ts";

/** Options of {@link sleepWakeTarget}. */
export interface SleepWakeOptions {
  /** All engines, awake or not; woken in this order, put to sleep in the opposite one. */
  readonly endpoints: readonly (string | EndpointInit)[];
  /** Milliseconds `/sleep` may take: weights are copied to the host. > 0. @default 60000 */
  readonly sleepTimeoutMs?: number | undefined;
  /** Milliseconds from `/wake_up` until the engine is awake and answers `/health`. > 0. @default 120000 */
  readonly wakeTimeoutMs?: number | undefined;
}

const schema = objectOf("sleepWakeTarget", {
  endpoints: anything(),
  sleepTimeoutMs: withDefault(number({ greaterThan: 0 }), 60_000),
  wakeTimeoutMs: withDefault(number({ greaterThan: 0 }), 120_000),
});

const pollMs = 200;
const questionTimeoutMs = 5_000;

/**
 * Warm spares: engines that run all the time, of which as many are awake as there should be replicas. Going up takes
 * seconds instead of minutes, and a sleeping engine gives its GPU's memory to others. The engines need
 * `--enable-sleep-mode` and `VLLM_SERVER_DEV_MODE=1`. An engine is drained before it is put to sleep (level 1: weights
 * go to the host's memory, KV is dropped). Says itself where its engines are: the configuration then has no `endpoints`.
 *
 * @example scalingTarget: sleepWakeTarget({ endpoints: ["http://d0:8000", "http://d1:8000"] })
 * @throws ConfigurationError when an option is not usable
 */
export function sleepWakeTarget(options: SleepWakeOptions): ScalingTarget {
  const { sleepTimeoutMs, wakeTimeoutMs } = parseConfig(schema, options, "sleepWakeTarget");
  const engines = parseEndpoints(options.endpoints, "sleepWakeTarget");
  return new SleepWakeTarget(engines, sleepTimeoutMs, wakeTimeoutMs);
}

class SleepWakeTarget implements ScalingTarget {
  readonly endpoints: Discovery;
  readonly #engines: readonly Endpoint[];
  readonly #sleepTimeoutMs: number;
  readonly #wakeTimeoutMs: number;
  readonly #stream = new SnapshotStream<readonly Endpoint[]>();
  readonly #deployment = new OneDeployment("sleepWakeTarget");
  readonly #awake = new Set<Endpoint>();
  /** Out of service, not yet told to sleep: they may stay awake. By engine, the release that counts. */
  readonly #draining = new Map<Endpoint, object>();
  readonly #fallingAsleep = new Map<Endpoint, Promise<void>>();
  readonly #stopping = new AbortController();
  #warned = false;

  constructor(engines: readonly Endpoint[], sleepTimeoutMs: number, wakeTimeoutMs: number) {
    this.#engines = engines;
    this.#sleepTimeoutMs = sleepTimeoutMs;
    this.#wakeTimeoutMs = wakeTimeoutMs;
    this.endpoints = (signal) => this.#stream.read(signal);
  }

  /** Finds out who is awake. An engine that does not answer counts as a spare. */
  async start(context: ScalingContext): Promise<void> {
    this.#deployment.begin(context);
    this.#awake.clear();
    const states = await Promise.all(this.#engines.map((engine) => this.#isAwake(engine).catch(() => false)));
    for (const [index, awake] of states.entries()) if (awake) this.#awake.add(this.#engines[index]!);
    this.#report();
  }

  getReplicas(): Promise<number> {
    return Promise.resolve(this.#awake.size);
  }

  async setReplicas(replicas: number, signal: AbortSignal): Promise<void> {
    if (replicas > this.#engines.length && !this.#warned) {
      this.#warned = true;
      const { deployment, warn } = this.#deployment.context;
      warn(`${replicas} engines are wanted of "${deployment}", but there are only ${this.#engines.length}.`);
    }
    const target = Math.min(replicas, this.#engines.length);
    while (this.#awake.size > target) this.#release([...this.#awake].at(-1)!);
    for (const engine of this.#draining.keys()) {
      if (this.#awake.size >= target) break;
      this.#draining.delete(engine);
      this.#use(engine);
    }
    const failures: unknown[] = [];
    const spares = this.#engines.filter((engine) => !this.#awake.has(engine) && !this.#draining.has(engine));
    while (this.#awake.size < target && spares.length > 0 && !signal.aborted) {
      const next = spares.splice(0, target - this.#awake.size);
      await Promise.all(
        next.map((engine) => this.#wake(engine, signal).catch((error: unknown) => failures.push(error))),
      );
    }
    // Reported, and tried again with a pause.
    if (this.#awake.size < target) throw failures[0] ?? new Error("no engine is left that could be woken");
  }

  /** The engines are not ours to stop; none is told to sleep any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#fallingAsleep.values());
    this.#deployment.end();
  }

  #use(engine: Endpoint): void {
    this.#awake.add(engine);
    this.#report();
  }

  /** Takes an engine out of service, and puts it to sleep when it has drained. Nobody waits for that. */
  #release(engine: Endpoint): void {
    const { drain, deployment, warn } = this.#deployment.context;
    this.#awake.delete(engine);
    const release = {};
    this.#draining.set(engine, release);
    this.#report();
    const asleep = drain(({ url, rank }) => url === engine.url && rank === engine.rank)
      .then(async () => {
        // Used again meanwhile: a later release waits for what runs there now.
        if (this.#draining.get(engine) !== release || this.#stopping.signal.aborted) return;
        this.#draining.delete(engine);
        await this.#ask(engine, "POST", "/sleep?level=1", this.#sleepTimeoutMs, this.#stopping.signal);
      })
      .catch((error: unknown) => {
        if (!this.#stopping.signal.aborted)
          warn(`An engine of "${deployment}" was not put to sleep: ${messageOf(error)}`);
      })
      .then(() => {
        if (this.#fallingAsleep.get(engine) === asleep) this.#fallingAsleep.delete(engine);
      });
    this.#fallingAsleep.set(engine, asleep);
  }

  async #wake(engine: Endpoint, signal: AbortSignal): Promise<void> {
    await this.#fallingAsleep.get(engine);
    const { clock } = this.#deployment.context;
    const until = clock.now() + this.#wakeTimeoutMs;
    await this.#ask(engine, "POST", "/wake_up", this.#wakeTimeoutMs, signal);
    while (!(await this.#isAwake(engine, signal))) {
      if (clock.now() >= until || signal.aborted) throw new Error(`${engine.url} did not wake up in time`);
      await pause(clock, pollMs, signal);
    }
    await this.#ask(engine, "GET", "/health", questionTimeoutMs, signal);
    this.#use(engine);
  }

  async #isAwake(engine: Endpoint, signal?: AbortSignal): Promise<boolean> {
    const body = await this.#ask(engine, "GET", "/is_sleeping", questionTimeoutMs, signal);
    return (JSON.parse(body) as { readonly is_sleeping?: unknown }).is_sleeping === false;
  }

  /** @throws Error for an answer that is not 200 */
  async #ask(
    engine: Endpoint,
    method: "GET" | "POST",
    path: string,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<string> {
    const { status, body } = await this.#deployment.context.call(engine, { method, path, timeoutMs, signal });
    if (status === 200) return body;
    const hint = status === 404 ? "; vLLM has it with --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1" : "";
    throw new Error(`${method} ${path} of ${engine.url} answered ${status}${hint}`);
  }

  #report(): void {
    this.#stream.push(this.#engines.filter((engine) => this.#awake.has(engine)));
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
