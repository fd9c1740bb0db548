import { type Bench, measurementsOf } from "../bench.ts";
import { Child } from "../child.ts";
import type { LoopDelay } from "../processes/control.ts";
import type { BodyWork } from "../processes/body-work.ts";
import type { Measurement, Ratio, WorkloadResult } from "../result.ts";
import { pairedRatios } from "../statistics.ts";

/** A size of prompt by its name. */
export const promptSizes: Readonly<Record<string, number>> = {
  "1 KB": 1024,
  "32 KB": 32 * 1024,
  "512 KB": 512 * 1024,
  "4 MB": 4 * 1024 * 1024,
};

/** CPU of prompts of all sizes, each sent to two engines, against one hop that sends it to one, untouched. */
export async function prompts(bench: Bench): Promise<WorkloadResult> {
  const { serveLLM, oneHop, nginx } = await bench.targets();
  // What is judged here is the comparison with Node.
  const measured = [...(nginx === undefined || bench.options.quick ? [] : [nginx]), oneHop, serveLLM];
  const measurements: Measurement[] = [];
  const ratios: Ratio[] = [];
  for (const [name, bytes] of Object.entries(promptSizes)) {
    if (bench.options.quick && name !== "1 KB" && name !== "4 MB") continue;
    const large = bytes > 1024 * 1024;
    const seconds = bench.pick(large ? 1.2 : 0.5, large ? 0.8 : 0.4);
    // The first large ones make the heap grow.
    const skip = large ? 0.5 : 0.25;
    const results = await bench.rounds(bench.pick(3, 2), measured, async (target) => {
      const { cpuNs, requests } = await bench.load(target, {
        kind: { bytes },
        connections: 4,
        seconds,
        skip,
      });
      return cpuNs / 1000 / requests;
    });
    measurements.push(...measurementsOf(`CPU per request, ${name}`, "us", results, (cpuUs) => cpuUs));
    ratios.push({
      key: `cpu${name.replace(" ", "").replace("KB", "Kb").replace("MB", "Mb")}PromptVsOneHop`,
      title: `CPU for a ${name} prompt, against one-hop`,
      unit: "x",
      values: pairedRatios(results.get(serveLLM)!, results.get(oneHop)!),
      limits: large ? { goal: 2, must: 2.5 } : undefined,
    });
  }
  const kind = { bytes: promptSizes["4 MB"]! };
  await bench.profiled("prompts", serveLLM, () => bench.load(serveLLM, { kind, connections: 4, seconds: 3 }));
  return { title: "Prompts by size, not streamed, c=4", measurements, ratios, notes: [] };
}

/** How long the event loop stands still for a large prompt: measured step by step, and from within a busy proxy. */
export async function loopBlock(bench: Bench): Promise<WorkloadResult> {
  const command = [process.execPath, bench.built.process("body-work"), String(bench.pick(40, 15))];
  const child = new Child(command, { cpu: bench.proxyCpu });
  const works = await child.nextJson<BodyWork[]>(60_000);
  await child.stop();
  const sizeName = (bytes: number): string =>
    Object.entries(promptSizes).find(([, size]) => size === bytes)?.[0] ?? String(bytes);
  const measurements: Measurement[] = works.flatMap(({ bytes, text, longestTurnMs, totalMs }) => [
    { what: `longest turn, ${sizeName(bytes)}`, variant: text, unit: "ms", values: longestTurnMs },
    { what: `all turns, ${sizeName(bytes)}`, variant: text, unit: "ms", values: totalMs },
  ]);
  const escaped = works.find(({ bytes, text }) => bytes === promptSizes["4 MB"] && text === "escaped")!;
  measurements.push(...(await loopDelays(bench)));
  return {
    title: "Event loop blocked by large prompts",
    measurements,
    ratios: [
      {
        key: "loopBlock4MbMs",
        title:
          "event loop blocked by a 4 MB prompt: longest turn of reading, checking, scanning and splicing it",
        unit: "ms",
        values: escaped.longestTurnMs,
        limits: { goal: 2, must: 5 },
      },
      {
        key: "loopBlock4MbAllTurnsMs",
        title: "all those turns together",
        unit: "ms",
        values: escaped.totalMs,
      },
    ],
    notes: [
      "The delay within the proxy is what other clients see: socket reads and writes of the kernel and garbage " +
        "collection are in it, and the machine's own scheduling; the line without prompts is what that alone makes.",
    ],
  };
}

async function loopDelays(bench: Bench): Promise<Measurement[]> {
  const { serveLLM, oneHop } = await bench.targets();
  const measurements: Measurement[] = [];
  for (const bytes of [0, promptSizes["4 MB"]!]) {
    const results = await bench.rounds(bench.pick(3, 1), [oneHop, serveLLM], async (target) => {
      await target.child.ask({ command: "watch-loop" });
      if (bytes === 0) await new Promise((resolve) => setTimeout(resolve, 500));
      else
        await bench.load(target, {
          kind: { bytes },
          connections: 1,
          seconds: bench.pick(1.5, 0.7),
          skip: 0.1,
        });
      return target.child.ask<LoopDelay>({ command: "loop-delay" });
    });
    const what = bytes === 0 ? "without prompts" : "one client sending 4 MB prompts";
    measurements.push(
      ...measurementsOf(`event-loop delay p99, ${what}`, "ms", results, ({ p99 }) => p99),
      ...measurementsOf(`event-loop delay max, ${what}`, "ms", results, ({ max }) => max),
    );
  }
  return measurements;
}
