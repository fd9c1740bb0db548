import { writeFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";

/** What the benchmark asks a Node process that it measures. */
export type ControlRequest =
  | { readonly command: "memory" | "watch-loop" | "loop-delay" | "profile" }
  | { readonly command: "save-profile"; readonly file: string };

/** Bytes, after a full garbage collection. */
export interface MemoryUsage {
  readonly rss: number;
  readonly heapUsed: number;
}

/** How late the event loop was, milliseconds, the sampler's own period taken off. */
export interface LoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Milliseconds between two samples of the event loop's delay. */
const samplePeriodMs = 2;

/** Tells the benchmark where this process listens and answers its questions; ends the process when it is gone. */
export function serveControl(port: number): void {
  let histogram: IntervalHistogram | undefined;
  let session: Session | undefined;

  const startProfile = async (): Promise<void> => {
    session = new Session();
    session.connect();
    await session.post("Profiler.enable");
    await session.post("Profiler.setSamplingInterval", { interval: 500 });
    await session.post("Profiler.start");
  };

  const saveProfile = async (file: string): Promise<void> => {
    const { profile } = await session!.post("Profiler.stop");
    session!.disconnect();
    writeFileSync(file, JSON.stringify(profile));
  };

  const watchLoop = (): void => {
    histogram = monitorEventLoopDelay({ resolution: samplePeriodMs });
    histogram.enable();
  };

  const loopDelay = (): LoopDelay => {
    histogram!.disable();
    const late = (ns: number): number => Math.max(0, ns / 1e6 - samplePeriodMs);
    return {
      p50: late(histogram!.percentile(50)),
      p99: late(histogram!.percentile(99)),
      max: late(histogram!.max),
    };
  };

  const commands = {
    memory: memoryUsage,
    "watch-loop": watchLoop,
    "loop-delay": loopDelay,
    profile: startProfile,
  } as const;
  const answer = async (request: ControlRequest): Promise<unknown> =>
    request.command === "save-profile" ? saveProfile(request.file) : commands[request.command]();

  process.on("message", (message: { readonly id: number; readonly request: ControlRequest }) => {
    void answer(message.request).then(
      (result) => process.send!({ id: message.id, result }),
      (error: unknown) => process.send!({ id: message.id, error: String(error) }),
    );
  });
  process.on("disconnect", () => process.exit());
  process.send!({ port });
}

function memoryUsage(): MemoryUsage {
  globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  return { rss, heapUsed };
}
