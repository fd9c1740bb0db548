import { type Bench, measurementsOf } from "../bench.ts";
import type { WorkloadResult } from "../result.ts";
import { pairedRatios } from "../statistics.ts";

const streams = 400;
const eventEveryUs = 20_000;
/** Longer than any measurement: no stream begins or ends while it runs. */
const kind = { bytes: 1024, stream: { events: 1000, delayUs: eventEveryUs } };
const burst = { bytes: 1024, stream: { events: 64, delayUs: -1 } };

/** CPU of a token that is relayed alone, and of a whole answer that comes in one piece. */
export async function events(bench: Bench): Promise<WorkloadResult> {
  const targets = await bench.targets();
  const { serveLLM, oneHop, nginx } = targets;
  const measured = bench.measured(targets);
  const timing = { seconds: bench.pick(2, 0.8), ramp: bench.pick(0.8, 0.4), skip: bench.pick(1.2, 0.7) };
  const paced = await bench.rounds(bench.pick(3, 2), measured, async (target) => {
    const result = await bench.load(target, { kind, connections: streams, ...timing });
    return { cpuUs: result.cpuNs / 1000 / result.events, delay: result.eventDelayUs! };
  });
  const bursts = await bench.rounds(bench.pick(3, 1), measured, async (target) => {
    const result = await bench.load(target, { kind: burst, connections: 32, seconds: bench.pick(1, 0.5) });
    return result.cpuNs / 1000 / result.requests;
  });
  const ratios = [];
  for (const [name, target] of [
    ["Nginx", nginx],
    ["OneHop", oneHop],
  ] as const) {
    if (target === undefined || !measured.includes(target)) continue;
    const cpu = (of: typeof oneHop): number[] => paced.get(of)!.map(({ cpuUs }) => cpuUs);
    ratios.push(
      {
        key: `cpuPerSseEventVs${name}`,
        title: `CPU per SSE event, one by one, against ${target.name}`,
        unit: "x" as const,
        values: pairedRatios(cpu(serveLLM), cpu(target)),
        limits: name === "Nginx" ? { goal: 1.6, must: 2 } : undefined,
      },
      {
        key: `cpuPerBurstVs${name}`,
        title: `CPU per answer of 64 events in one piece, against ${target.name}`,
        unit: "x" as const,
        values: pairedRatios(bursts.get(serveLLM)!, bursts.get(target)!),
      },
    );
  }
  await bench.profiled("events", serveLLM, () =>
    bench.load(serveLLM, { kind, connections: streams, ...timing, seconds: 3 }),
  );
  return {
    title: `Events: ${streams} streams, 50 events a second each`,
    measurements: [
      ...measurementsOf("CPU per event", "us", paced, ({ cpuUs }) => cpuUs),
      ...measurementsOf("from engine to client, p50", "us", paced, ({ delay }) => delay.p50),
      ...measurementsOf("from engine to client, p99", "us", paced, ({ delay }) => delay.p99),
      ...measurementsOf("CPU per answer of 64 events in one piece", "us", bursts, (cpuUs) => cpuUs),
    ],
    ratios,
    notes: [],
  };
}
