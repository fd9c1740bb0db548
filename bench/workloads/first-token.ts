import { type Bench, measurementsOf } from "../bench.ts";
import type { WorkloadResult } from "../result.ts";
import { pairedRatios } from "../statistics.ts";
import { startTwoHop } from "../targets.ts";

const kind = { bytes: 1024, stream: { events: 4, delayUs: 0 } };

/** Time to the first byte of a stream, one client at a time. Prefill and decode are two hops, one after the other. */
export async function firstToken(bench: Bench): Promise<WorkloadResult> {
  const targets = await bench.targets();
  const { serveLLM, oneHop, nginx } = targets;
  const { built, proxyCpu, engines, options } = bench;
  const twoHop = options.quick ? undefined : await startTwoHop(built, proxyCpu, engines);
  try {
    if (twoHop !== undefined) await bench.warmUp(twoHop, 0.3);
    const measured = [...bench.measured(targets), ...(twoHop === undefined ? [] : [twoHop])];
    const results = await bench.rounds(bench.pick(5, 3), measured, async (target) => {
      const { firstByteUs } = await bench.load(target, {
        kind,
        connections: 1,
        seconds: bench.pick(0.6, 0.4),
      });
      return firstByteUs!;
    });
    const p50 = (target: typeof oneHop): number[] => results.get(target)!.map(({ p50: value }) => value);
    const ratios = [];
    for (const [key, target] of [
      ["ttftVsNginxHop", nginx],
      ["ttftVsOneHop", oneHop],
      ["ttftVsTwoHop", twoHop],
    ] as const) {
      if (target === undefined || !measured.includes(target)) continue;
      ratios.push({
        key,
        title: `time to first token, c=1, against ${target.name}`,
        unit: "x" as const,
        values: pairedRatios(p50(serveLLM), p50(target)),
        limits: target === nginx ? { goal: 2.2, must: 2.6 } : undefined,
      });
    }
    return {
      title: "Time to first token, one client",
      measurements: [
        ...measurementsOf("first byte, p50", "us", results, ({ p50: value }) => value),
        ...measurementsOf("first byte, p99", "us", results, ({ p99 }) => p99),
      ],
      ratios,
      notes: [
        "two-hop makes the two calls of a disaggregated request through undici and nothing else: the floor of Node here.",
      ],
    };
  } finally {
    await twoHop?.child.stop();
  }
}
