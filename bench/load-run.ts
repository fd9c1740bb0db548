import { bodyFile, type RequestKind } from "./bodies.ts";
import type { Built } from "./build.ts";
import { Child } from "./child.ts";

/** Percentiles of a measured time, microseconds. */
export interface Percentiles {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** What the load tool saw in the measured time. */
export interface LoadResult {
  readonly requests: number;
  readonly errors: number;
  /** Streams that ended without `[DONE]`. */
  readonly unfinished: number;
  readonly events: number;
  readonly bodyBytes: number;
  readonly seconds: number;
  /** CPU time of the measured processes, nanoseconds. */
  readonly cpuNs: number;
  /** Events of the connections that got the fewest and the most. */
  readonly fewestEvents: number;
  readonly mostEvents: number;
  readonly firstByteUs: Percentiles | null;
  readonly latencyUs: Percentiles | null;
  readonly eventDelayUs: Percentiles | null;
}

/** What is sent where, and for how long. */
export interface LoadOptions {
  readonly port: number;
  /** Processes whose CPU time counts. */
  readonly pids: readonly number[];
  readonly kind: RequestKind;
  readonly connections: number;
  /** Seconds. */
  readonly seconds: number;
  /** Seconds before that are not counted. */
  readonly skip: number;
  /** Seconds over which the connections start. @default 0 */
  readonly ramp?: number | undefined;
  /** Requests a second, all together; undefined: as fast as answers come. */
  readonly rate?: number | undefined;
}

/** Runs the load tool to its end. @throws when an answer was wrong or a stream was cut: figures of it mean nothing */
export async function runLoad(built: Built, cpu: string, options: LoadOptions): Promise<LoadResult> {
  const child = startLoad(built, cpu, options);
  try {
    return checked(await child.nextJson<LoadResult>((options.seconds + options.skip) * 1000 + 15_000));
  } finally {
    await child.stop();
  }
}

/** Open streams that stay open. */
export interface HeldStreams {
  readonly count: number;
  /** Closes them and returns what was seen. */
  release(): Promise<LoadResult>;
}

/** Opens streams and holds them, at most 120 s. */
export async function holdStreams(
  built: Built,
  cpu: string,
  options: Omit<LoadOptions, "seconds" | "skip">,
): Promise<HeldStreams> {
  const child = startLoad(built, cpu, { ...options, seconds: 120, skip: 0 }, ["hold=1"]);
  try {
    const { ready } = await child.nextJson<{ readonly ready: number }>(60_000);
    return {
      count: ready,
      release: async () => {
        child.closeInput();
        const result = await child.nextJson<LoadResult>();
        await child.stop();
        return result;
      },
    };
  } catch (error) {
    child.kill();
    throw error;
  }
}

function startLoad(built: Built, cpu: string, options: LoadOptions, more: readonly string[] = []): Child {
  const { port, pids, kind, connections, seconds, skip, ramp, rate } = options;
  const args = [
    `port=${port}`,
    "path=/v1/chat/completions",
    `body=${bodyFile(built.directory, kind)}`,
    `connections=${connections}`,
    `seconds=${seconds}`,
    `skip=${skip}`,
    `pids=${pids.join(",")}`,
    ...(ramp === undefined ? [] : [`ramp=${ramp}`]),
    ...(rate === undefined ? [] : [`rate=${rate}`]),
    ...more,
  ];
  return new Child([...built.tool("load"), ...args], { cpu });
}

function checked(result: LoadResult): LoadResult {
  if (result.errors > 0) throw new Error(`${result.errors} answers were wrong, ${result.requests} right.`);
  if (result.unfinished > 0) throw new Error(`${result.unfinished} of ${result.requests} streams were cut.`);
  return result;
}
