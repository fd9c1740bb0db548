import { writeFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";

/** What the benchmark asks a Node process that it measures. */
export type ControlRequest =
  | { readonly command: "memory" }
  | { readonly command: "watch-loop" }
  | { readonly command: "loop-delay" }
  | { readonly command: "profile" }
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

  const answer = async (request: ControlRequest): Promise<unknown> => {
    switch (request.command) {
      case "memory": {
        globalThis.gc?.();
        const { rss, heapUsed } = process.memoryUsage();
        return { rss, heapUsed } satisfies MemoryUsage;
      }
      case "watch-loop":
        histogram = monitorEventLoopDelay({ resolution: samplePeriodMs });
        histogram.enable();
        return undefined;
      case "loop-delay": {
        histogram!.disable();
        const late = (ns: number): number => Math.max(0, ns / 1e6 - samplePeriodMs);
        return {
          p50: late(histogram!.percentile(50)),
          p99: late(histogram!.percentile(99)),
          max: late(histogram!.max),
        } satisfies LoopDelay;
      }
      case "profile":
        session = new Session();
        session.connect();
        await session.post("Profiler.enable");
        await session.post("Profiler.setSamplingInterval", { interval: 500 });
        await session.post("Profiler.start");
        return undefined;
      case "save-profile": {
        const { profile } = await session!.post("Profiler.stop");
        session!.disconnect();
        writeFileSync(request.file, JSON.stringify(profile));
        return undefined;
      }
    }
  };

  process.on("message", (message: { readonly id: number; readonly request: ControlRequest }) => {
    void answer(message.request).then(
      (result) => process.send!({ id: message.id, result }),
      (error: unknown) => process.send!({ id: message.id, error: String(error) }),
    );
  });
  process.on("disconnect", () => process.exit());
  process.send!({ port });
}
