import type { Discovery, Endpoint, EndpointInit } from "../config/endpoint.ts";
import { parseEndpoints } from "../config/endpoint.ts";
import {
  anything,
  integer,
  mapOf,
  number,
  objectOf,
  optional,
  text,
  withDefault,
} from "../config/lax-schema.ts";
import { parseConfig } from "../config/parse-config.ts";
import type { ScalingContext, ScalingTarget } from "../config/scaling-target.ts";
import type { VllmCommand } from "../config/vllm-command-line.ts";
import { SnapshotStream } from "../discovery/snapshot-stream.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { type EngineLaunch, EngineSlot } from "./engine-slot.ts";
import { freePort } from "./free-port.ts";
import { OneDeployment } from "./one-deployment.ts";

/** One engine that is being started. */
export interface StartingEngine {
  /** Which one, from 0: decides its GPUs and side-channel port. */
  readonly rank: number;
  readonly url: string;
  /** As it is started, secrets included. */
  readonly command: VllmCommand;
}

/** A line an engine wrote. */
export interface EngineLine {
  /** For example `Decode:llama-8b/0`. */
  readonly engine: string;
  readonly line: string;
  readonly stream: "stdout" | "stderr";
}

/** Options of {@link vllmProcesses}. */
export interface VllmProcessesOptions {
  /** In place of the command's first word, `vllm`: a program, or one with arguments of its own. @default "vllm" */
  readonly command?: string | readonly string[] | undefined;
  /**
   * GPUs of this deployment: how many, or which, by number or UUID. Every engine gets as many as its configuration
   * needs (`tensor_parallel_size` x `pipeline_parallel_size`); there are never more engines than fit. Two deployments on
   * one machine need different ones. @default numbered from 0, and no limit
   */
  readonly gpus?: number | readonly (number | string)[] | undefined;
  /** Port of the first engine; the others follow it. 1 to 65535. @default any free ports */
  readonly portBase?: number | undefined;
  /** Address the engines listen on, and are called at. @default "127.0.0.1" */
  readonly host?: string | undefined;
  /** Address at which engines on other machines fetch KV from these. @default `host` */
  readonly nodeIp?: string | undefined;
  /** Put over the environment of this process and over the command's own variables. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Folder the engines run in. @default this process's */
  readonly cwd?: string | undefined;
  /** Milliseconds from the start until `/health` answers; then it is started again. > 0. @default 1800000 */
  readonly startupTimeoutMs?: number | undefined;
  /** Milliseconds between SIGTERM and SIGKILL, once an engine has drained. 0 or more. @default 30000 */
  readonly stopTimeoutMs?: number | undefined;
  /** More about the endpoint, for example `kvMetadata` for connectors that need it; put over what is known. */
  readonly endpoint?: ((engine: StartingEngine) => Partial<EndpointInit>) | undefined;
  /** Takes what the engines write. @default to stderr, each line with the engine's name before it */
  readonly onLine?: ((line: EngineLine) => void) | undefined;
}

const schema = objectOf("vllmProcesses", {
  command: optional(anything()),
  gpus: optional(anything()),
  portBase: optional(integer({ atLeast: 1, atMost: 65_535 })),
  host: withDefault(text({ minLength: 1 }), "127.0.0.1"),
  nodeIp: optional(text({ minLength: 1 })),
  env: optional(mapOf(text())),
  cwd: optional(text({ minLength: 1 })),
  startupTimeoutMs: withDefault(number({ greaterThan: 0 }), 1_800_000),
  stopTimeoutMs: withDefault(number({ atLeast: 0 }), 30_000),
  endpoint: optional(anything()),
  onLine: optional(anything()),
});

type ParsedOptions = ReturnType<typeof readOptions>;

/**
 * Engines as processes of this machine: `vllm serve` with the flags, ports, KV transfer set-up and GPUs that
 * `LLMConfig.toVllmCommand` says. An engine gets requests when it is healthy, is drained before it is ended, and is
 * started again, with growing pauses, when it ends by itself or fails three health checks in a row. Says itself where its engines are: the configuration
 * then has no `endpoints`.
 *
 * @example scalingTarget: vllmProcesses({ gpus: [0, 1, 2, 3] })
 * @throws ConfigurationError when an option is not usable
 */
export function vllmProcesses(options: VllmProcessesOptions = {}): ScalingTarget {
  return new VllmProcesses(readOptions(options));
}

class VllmProcesses implements ScalingTarget {
  readonly endpoints: Discovery;
  readonly #options: ParsedOptions;
  readonly #ready = new SnapshotStream<readonly Endpoint[]>();
  readonly #deployment = new OneDeployment("vllmProcesses");
  readonly #slots = new Map<number, EngineSlot>();
  readonly #leaving = new Map<number, { readonly slot: EngineSlot; readonly left: Promise<void> }>();
  #wanted = 0;
  #refused = 0;

  constructor(options: ParsedOptions) {
    this.#options = options;
    this.endpoints = (signal) => this.#ready.read(signal);
  }

  start(context: ScalingContext): Promise<void> {
    // What can't be a command should show now, not when the load is there.
    context.engine.command({ rank: 0 });
    this.#deployment.begin(context);
    this.#ready.push([]);
    return Promise.resolve();
  }

  setReplicas(replicas: number): Promise<void> {
    this.#wanted = replicas;
    this.#fit();
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    if (!this.#deployment.begun) return;
    this.#wanted = 0;
    this.#fit();
    await Promise.all([...this.#leaving.values()].map(({ left }) => left));
    this.#deployment.end();
  }

  /** Starts and stops engines until there are as many as wanted, or as fit. */
  #fit(): void {
    const places = this.#places();
    if (this.#wanted > places && this.#wanted > this.#refused) {
      const { deployment, engine, warn } = this.#deployment.context;
      this.#refused = this.#wanted;
      warn(
        `${this.#wanted} engines are wanted of "${deployment}", but its GPUs hold ${places} of ${engine.devices} each.`,
      );
    }
    const target = Math.min(this.#wanted, places);
    while (this.#slots.size > target) this.#removeOne();
    for (const [rank, { slot }] of this.#leaving) {
      // It has its model loaded; a new one would take minutes.
      if (this.#slots.size >= target || !slot.stay()) continue;
      this.#slots.set(rank, slot);
      this.#report();
    }
    for (let rank = 0; this.#slots.size < target && rank < places; rank++) {
      // A place whose engine still drains is taken; the next one is tried, or this again when it is free.
      if (!this.#slots.has(rank) && !this.#leaving.has(rank)) this.#startOne(rank);
    }
  }

  #places(): number {
    const { gpus } = this.#options;
    const { devices } = this.#deployment.context.engine;
    return gpus === undefined || devices === 0 ? Infinity : Math.floor(gpus.length / devices);
  }

  #startOne(rank: number): void {
    const { context } = this.#deployment;
    const name = `${context.deployment}/${rank}`;
    const { cwd, startupTimeoutMs, stopTimeoutMs, onLine } = this.#options;
    const slot = new EngineSlot({
      name: `Engine ${rank}`,
      context,
      cwd,
      startupTimeoutMs,
      stopTimeoutMs,
      launch: () => this.#launch(rank),
      onLine: (line, stream) => onLine({ engine: name, line, stream }),
      onChange: () => this.#report(),
    });
    this.#slots.set(rank, slot);
  }

  /** One that is not ready yet, else the last. */
  #removeOne(): void {
    const ranks = [...this.#slots.keys()].toSorted((one, other) => other - one);
    const rank = ranks.find((each) => this.#slots.get(each)?.endpoint === undefined) ?? ranks[0]!;
    const slot = this.#slots.get(rank)!;
    this.#slots.delete(rank);
    const left = slot
      .leave()
      .catch((error: unknown) => {
        this.#deployment.context.warn(`Engine ${rank} did not stop: ${String(error)}`);
        return true;
      })
      .then((gone) => {
        // One that stayed may be leaving again, under another promise.
        if (this.#leaving.get(rank)?.left === left) this.#leaving.delete(rank);
        if (gone) this.#fit();
      });
    this.#leaving.set(rank, { slot, left });
  }

  #report(): void {
    const ranks = [...this.#slots].toSorted(([one], [other]) => one - other);
    this.#ready.push(ranks.flatMap(([, { endpoint }]) => endpoint ?? []));
  }

  async #launch(rank: number): Promise<EngineLaunch> {
    const { engine } = this.#deployment.context;
    const { host, portBase, nodeIp = host, gpus, program, env, endpoint } = this.#options;
    const port = await freePort(host, portBase === undefined ? 0 : portBase + rank);
    const command = engine.command({ rank, port, host, nodeIp, gpuOffset: rank * engine.devices });
    const devices = gpus?.slice(rank * engine.devices, (rank + 1) * engine.devices);
    const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
    const known: EndpointInit = {
      url,
      ...(engine.dataParallelSize > 1 ? { rank } : {}),
      ...endpoint?.({ rank, url, command }),
    };
    return {
      words: [...program, ...command.command.slice(1)],
      env: {
        ...command.env,
        ...(devices === undefined || devices.length === 0 ? {} : { CUDA_VISIBLE_DEVICES: devices.join(",") }),
        ...env,
      },
      endpoint: parseEndpoints([known], "The endpoint of vllmProcesses")[0]!,
    };
  }
}

function readOptions(options: VllmProcessesOptions) {
  const parsed = parseConfig(schema, options, "vllmProcesses");
  const { command = "vllm", gpus, env = {}, endpoint, onLine = toStderr } = options;
  const program = typeof command === "string" ? [command] : command;
  if (!Array.isArray(program) || program.length === 0 || !program.every(isWord)) {
    throw invalid("command", "a program, or a list of one and its arguments", command);
  }
  const list = typeof gpus === "number" ? Array.from({ length: gpus }, (_, index) => index) : gpus;
  const whole = typeof gpus !== "number" || Number.isInteger(gpus);
  if (
    list !== undefined &&
    (!whole || !Array.isArray(list) || list.length === 0 || new Set(list).size < list.length)
  ) {
    throw invalid("gpus", "how many, 1 or more, or a list of different GPUs", gpus);
  }
  for (const [field, value] of Object.entries({ endpoint: parsed.endpoint, onLine: parsed.onLine })) {
    if (value !== undefined && typeof value !== "function") throw invalid(field, "a function", value);
  }
  return { ...parsed, program: program as readonly string[], gpus: list, env, endpoint, onLine };
}

function isWord(value: unknown): boolean {
  return typeof value === "string" && value !== "";
}

function invalid(field: string, expected: string, received: unknown): ConfigurationError {
  return new ConfigurationError("vllmProcesses", [
    {
      path: [field],
      type: "value_error",
      message: "Not usable",
      expected,
      received: JSON.stringify(received),
    },
  ]);
}

function toStderr({ engine, line }: EngineLine): void {
  process.stderr.write(`[${engine}] ${line}\n`);
}
