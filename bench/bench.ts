import { execFileSync } from "node:child_process";
import { join } from "node:path";
import type { Built } from "./build.ts";
import { type LoadOptions, type LoadResult, runLoad } from "./load-run.ts";
import type { BenchOptions } from "./options.ts";
import { printTopFunctions } from "./profile.ts";
import type { Measurement } from "./result.ts";
import {
  Engines,
  nginxVersion,
  startEcho,
  startNginx,
  startOneHop,
  startServeLLM,
  type Target,
} from "./targets.ts";

/** Longest a run may take, seconds; every process ends by itself then. */
const lifetimeS = 600;

/** The processes that most workloads share. */
export interface Targets {
  readonly serveLLM: Target;
  readonly echo: Target;
  readonly oneHop: Target;
  readonly nginx: Target | undefined;
}

/** Load on a target; a short warm-up comes before it unless `skip` says otherwise. */
type TargetLoad = Omit<LoadOptions, "port" | "pids" | "skip"> & { readonly skip?: number };

/** What a workload works with. */
export class Bench {
  readonly options: BenchOptions;
  readonly built: Built;
  readonly engines: Engines;
  readonly nginx: string | undefined;
  /** Open files a process may have. */
  readonly fileLimit: number;
  #targets: Targets | undefined;

  private constructor(options: BenchOptions, built: Built, engines: Engines) {
    this.options = options;
    this.built = built;
    this.engines = engines;
    this.nginx = options.noNginx ? undefined : nginxVersion();
    this.fileLimit = Number(execFileSync("sh", ["-c", "ulimit -Hn"], { encoding: "utf8" })) || 1_000_000;
  }

  static async open(options: BenchOptions, built: Built): Promise<Bench> {
    return new Bench(options, built, await Engines.start(built, options.cpus[1], lifetimeS));
  }

  get proxyCpu(): string {
    return this.options.cpus[0];
  }

  get loadCpu(): string {
    return this.options.cpus[1];
  }

  /** What the engines' side is compared with: nginx, or the one-hop proxy where there is none. */
  get baselineName(): "nginx" | "one-hop" {
    return this.nginx === undefined ? "one-hop" : "nginx";
  }

  /** Picks by mode. */
  pick<Value>(full: Value, quick: Value): Value {
    return this.options.quick ? quick : full;
  }

  /** Tells a person what goes on; never on stdout. */
  log(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  /** The shared processes, started and warmed up when they are first asked for. */
  async targets(): Promise<Targets> {
    if (this.#targets !== undefined) return this.#targets;
    const { built, proxyCpu, engines } = this;
    this.#targets = {
      serveLLM: await startServeLLM(built, proxyCpu, engines),
      echo: await startEcho(built, proxyCpu),
      oneHop: await startOneHop(built, proxyCpu, engines),
      nginx:
        this.nginx === undefined ? undefined : await startNginx(built, proxyCpu, engines, this.fileLimit),
    };
    for (const target of [this.#targets.echo, this.#targets.oneHop, this.#targets.serveLLM])
      await this.warmUp(target);
    return this.#targets;
  }

  /** What relayed streams are measured on: a quick run has no time for a second yardstick. */
  measured({ serveLLM, oneHop, nginx }: Targets): Target[] {
    if (nginx === undefined) return [oneHop, serveLLM];
    return this.options.quick ? [nginx, serveLLM] : [nginx, oneHop, serveLLM];
  }

  /**
   * Requests of both kinds until the compiler has settled, however slow a busy machine makes that.
   *
   * @param share how much of it, 0 to 1, for a process of which no limit is measured
   */
  async warmUp(target: Target, share = 1): Promise<void> {
    const isOurs = target.name.startsWith("serve-llm");
    const wanted = share * (isOurs ? this.pick(20_000, 12_000) : this.pick(10_000, 4000));
    const until = performance.now() + share * this.pick(8000, 4000);
    const seconds = 0.4;
    const stream = { events: 16, delayUs: 0 };
    const kinds = target.name === "echo" ? [{ bytes: 1024 }] : [{ bytes: 1024 }, { bytes: 1024, stream }];
    for (let requests = 0; requests < wanted && performance.now() < until;) {
      for (const kind of kinds) {
        // A cold process on a busy machine may answer nothing within so short a time.
        requests += (await this.#run(target, { kind, connections: 32, seconds })).requests;
      }
    }
  }

  /** One measurement of one target; of serve-llm only when every request of it was really disaggregated. */
  async load(target: Target, options: TargetLoad): Promise<LoadResult> {
    const isOurs = target.name.startsWith("serve-llm");
    const before = isOurs ? await this.engines.counters() : undefined;
    const result = await this.#run(target, options);
    if (result.requests === 0 && result.events === 0) throw new Error(`${target.name} answered nothing.`);
    if (before !== undefined) {
      const after = await this.engines.counters();
      const decodes = after.decodes - before.decodes;
      const handedOver = after.handedOver - before.handedOver;
      // Whoever has a handle was at prefill: there is no other place to get one.
      if (decodes !== handedOver) {
        throw new Error(`Only ${handedOver} of ${decodes} requests to ${target.name} were disaggregated.`);
      }
    }
    return result;
  }

  #run({ port, child }: Target, options: TargetLoad): Promise<LoadResult> {
    const skip = this.pick(0.25, 0.15);
    return runLoad(this.built, this.loadCpu, { skip, ...options, port, pids: [child.pid] });
  }

  /**
   * Measures all targets in turn, in rounds, every other one backwards: what else happens on this machine then hits
   * all of them alike.
   */
  async rounds<Value>(
    count: number,
    targets: readonly Target[],
    measure: (target: Target) => Promise<Value>,
  ): Promise<Map<Target, Value[]>> {
    const results = new Map<Target, Value[]>(targets.map((target) => [target, []]));
    for (let round = 0; round < count; round += 1) {
      const order = round % 2 === 0 ? targets : targets.toReversed();
      for (const target of order) results.get(target)!.push(await measure(target));
    }
    return results;
  }

  /** Runs `work` under the profiler when profiles are asked for. */
  async profiled<Value>(name: string, target: Target, work: () => Promise<Value>): Promise<void> {
    if (!this.options.cpuProfile) return;
    const file = join(this.built.directory, `${name}.cpuprofile`);
    await target.child.ask({ command: "profile" });
    await work();
    await target.child.ask({ command: "save-profile", file });
    printTopFunctions(file, (line) => this.log(line));
  }

  async close(): Promise<void> {
    const { serveLLM, echo, oneHop, nginx } = this.#targets ?? {};
    for (const target of [serveLLM, echo, oneHop, nginx]) await target?.child.stop();
    await this.engines.child.stop();
  }
}

/** Measurements of one thing, one for each target. */
export function measurementsOf<Value>(
  what: string,
  unit: string,
  results: ReadonlyMap<Target, readonly Value[]>,
  read: (value: Value) => number,
): Measurement[] {
  return [...results].map(([target, values]) => ({
    what,
    variant: target.name,
    unit,
    values: values.map(read),
  }));
}
