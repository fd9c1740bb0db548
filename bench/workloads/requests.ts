import { type Bench, measurementsOf } from "../bench.ts";
import type { WorkloadResult } from "../result.ts";
import { pairedRatios } from "../statistics.ts";

const kind = { bytes: 1024 };

/** CPU of a request that is not streamed, against a bare echo, one hop in Node and nginx. */
export async function requests(bench: Bench): Promise<WorkloadResult> {
  const all = await bench.targets();
  const { serveLLM, echo, oneHop, nginx } = all;
  const targets = [echo, ...bench.measured(all)];
  const measurements = [];
  const ratios = [];
  for (const connections of bench.pick([1, 32, 256], [1, 32])) {
    const seconds = bench.pick(connections === 32 ? 0.9 : 0.7, 0.4);
    const results = await bench.rounds(bench.pick(3, connections === 32 ? 3 : 1), targets, async (target) => {
      const { cpuNs, requests: count, latencyUs } = await bench.load(target, { kind, connections, seconds });
      return { cpuUs: cpuNs / 1000 / count, latency: latencyUs!.p50 };
    });
    const cpu = (target: typeof echo): number[] => results.get(target)!.map(({ cpuUs }) => cpuUs);
    measurements.push(
      ...measurementsOf(`CPU per request, c=${connections}`, "us", results, ({ cpuUs }) => cpuUs),
      ...measurementsOf(`latency p50, c=${connections}`, "us", results, ({ latency }) => latency),
    );
    const title = `CPU per request, 1 KB, not streamed, c=${connections}, against`;
    ratios.push({
      key: `cpuPerRequestC${connections}VsEcho`,
      title: `${title} a bare echo`,
      unit: "x" as const,
      values: pairedRatios(cpu(serveLLM), cpu(echo)),
      limits: connections === 32 ? { goal: 5, must: 6.5 } : undefined,
    });
    for (const [name, target] of [
      ["OneHop", oneHop],
      ["Nginx", nginx],
    ] as const) {
      if (target === undefined || !targets.includes(target)) continue;
      ratios.push({
        key: `cpuPerRequestC${connections}Vs${name}`,
        title: `${title} ${target.name}`,
        unit: "x" as const,
        values: pairedRatios(cpu(serveLLM), cpu(target)),
      });
    }
  }
  await bench.profiled("requests", serveLLM, () =>
    bench.load(serveLLM, { kind, connections: 32, seconds: 3 }),
  );
  return { title: "Requests that are not streamed, 1 KB", measurements, ratios, notes: [] };
}
