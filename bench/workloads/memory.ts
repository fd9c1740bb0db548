import { readFileSync } from "node:fs";
import type { Bench } from "../bench.ts";
import { holdStreams } from "../load-run.ts";
import type { MemoryUsage } from "../processes/control.ts";
import type { Measurement, WorkloadResult } from "../result.ts";
import { startNginx, startOneHop, startServeLLM, type Target } from "../targets.ts";

/** One token, then nothing for ten minutes. */
const kind = { bytes: 1024, stream: { events: 2, delayUs: 600_000_000 } };
/** Files that a process has open besides its streams, generously. */
const otherFiles = 300;

interface Sample {
  readonly streams: number;
  readonly rssKb: number;
  readonly openCpuUs: number;
}

/** Memory of streams that are open and silent. */
export async function memory(bench: Bench): Promise<WorkloadResult> {
  // A stream is two files: one to the client and one to the engine.
  const most = Math.min(10_000, Math.floor((bench.fileLimit - otherFiles) / 2));
  const counts = [Math.min(1000, most), most];
  const baseline = await measure(bench, counts, bench.nginx !== undefined);
  const ours = await measure(bench, counts, "serve-llm");
  const notes =
    most < 10_000
      ? [`${most} streams instead of 10,000: a process may have ${bench.fileLimit} open files here.`]
      : [];
  const measurements: Measurement[] = [baseline, ours].flatMap(({ variant, samples, idleCpuMs }) => [
    ...samples.flatMap(({ streams, rssKb, openCpuUs }) => [
      { what: `RSS per idle stream at ${streams}`, variant, unit: "KB", values: [rssKb] },
      { what: `CPU to open one, up to ${streams}`, variant, unit: "us", values: [openCpuUs] },
    ]),
    { what: `CPU with ${most} idle streams, per second`, variant, unit: "ms", values: [idleCpuMs] },
  ]);
  const ratioAt = (index: number): number => ours.samples[index]!.rssKb / baseline.samples[index]!.rssKb;
  const against = baseline.variant === "nginx" ? "Nginx" : "OneHop";
  return {
    title: "Idle streams",
    measurements,
    ratios: [
      {
        key: `rssPerIdleStreamVs${against}`,
        title: `RSS per idle stream at ${most}, against ${baseline.variant}`,
        unit: "x",
        values: [ratioAt(1)],
        limits: against === "Nginx" ? { goal: 1.4, must: 1.8 } : undefined,
      },
      {
        key: `rssPerIdleStreamAt1000Vs${against}`,
        title: `RSS per idle stream at ${counts[0]}, against ${baseline.variant}`,
        unit: "x",
        values: [ratioAt(0)],
      },
    ],
    notes,
  };
}

async function measure(
  bench: Bench,
  counts: readonly number[],
  which: boolean | "serve-llm",
): Promise<{ variant: string; samples: Sample[]; idleCpuMs: number }> {
  const { built, proxyCpu, engines, fileLimit } = bench;
  // A process of its own: memory that earlier work left behind would hide what streams cost.
  const target =
    which === "serve-llm"
      ? await startServeLLM(built, proxyCpu, engines)
      : which
        ? await startNginx(built, proxyCpu, engines, fileLimit)
        : await startOneHop(built, proxyCpu, engines);
  const held = [];
  try {
    if (target.name !== "nginx") await bench.warmUp(target);
    const empty = await rssBytes(target);
    const samples: Sample[] = [];
    for (const count of counts) {
      const open = count - (samples.at(-1)?.streams ?? 0);
      const cpu = cpuNs(target.child.pid);
      const { port, child } = target;
      const streams = await holdStreams(built, bench.loadCpu, {
        port,
        pids: [child.pid],
        kind,
        connections: open,
      });
      held.push(streams);
      if (streams.count !== open)
        throw new Error(`Only ${streams.count} of ${open} streams of ${target.name} opened.`);
      const openCpuUs = (cpuNs(target.child.pid) - cpu) / 1000 / open;
      await new Promise((resolve) => setTimeout(resolve, bench.pick(1000, 500)));
      samples.push({ streams: count, rssKb: ((await rssBytes(target)) - empty) / 1024 / count, openCpuUs });
    }
    const before = cpuNs(target.child.pid);
    const begin = performance.now();
    await new Promise((resolve) => setTimeout(resolve, bench.pick(2000, 300)));
    const idleCpuMs = (cpuNs(target.child.pid) - before) / 1000 / (performance.now() - begin);
    return { variant: target.name, samples, idleCpuMs };
  } finally {
    // The target first: its end is the quickest way to close them all.
    await target.child.stop();
    for (const streams of held) await streams.release();
  }
}

async function rssBytes(target: Target): Promise<number> {
  if (target.name !== "nginx") {
    // Twice: what the first collection finalizes, the second frees.
    await target.child.ask<MemoryUsage>({ command: "memory" });
    return (await target.child.ask<MemoryUsage>({ command: "memory" })).rss;
  }
  const status = readFileSync(`/proc/${target.child.pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024;
}

/** CPU time of a process with one busy thread, nanoseconds. */
function cpuNs(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[0]);
}
