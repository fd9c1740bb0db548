import type { Bench } from "../bench.ts";
import { Child } from "../child.ts";
import type { RoutingWork } from "../processes/routing-work.ts";
import type { WorkloadResult } from "../result.ts";

/** What choosing a replica costs, for each policy, pool size and prompt size. */
export async function routing(bench: Bench): Promise<WorkloadResult> {
  const command = [process.execPath, bench.built.process("routing-work"), String(bench.pick(60, 15))];
  const child = new Child(command, { cpu: bench.proxyCpu });
  const works = await child.nextJson<RoutingWork[]>(60_000);
  await child.stop();
  return {
    title: "Choosing a replica",
    measurements: works.map(({ policy, replicas, promptBytes, microseconds }) => ({
      what: `${replicas} replicas, ${promptBytes / 1024} KB prompt`,
      variant: policy,
      unit: "us",
      values: [microseconds],
    })),
    ratios: [],
    notes: [
      "Policies that do not read the prompt cost the same for every size; prefix-cache-affinity decodes the text and walks its tree.",
    ],
  };
}
