import type { Bench } from "../bench.ts";
import { Child } from "../child.ts";
import type { RoutingWork } from "../processes/routing-work.ts";
import type { Ratio, WorkloadResult } from "../result.ts";
import { spreadOf } from "../statistics.ts";

/** What choosing a replica costs, for each policy, pool size and prompt size. */
export async function routing(bench: Bench): Promise<WorkloadResult> {
  const command = [process.execPath, bench.built.process("routing-work"), String(bench.pick(60, 15))];
  const child = new Child(command, { cpu: bench.proxyCpu });
  const works = await child.nextJson<RoutingWork[]>(60_000);
  await child.stop();
  return {
    title: "Choosing a replica",
    measurements: works.map(({ policy, replicas, promptBytes, microseconds }) => ({
      what: `${replicas === 0 ? "" : `${replicas} replicas, `}${promptBytes / 1024} KB prompt`,
      variant: policy,
      unit: "us",
      values: microseconds,
    })),
    ratios: [
      slowest(works, "routingUs100Replicas", 1024, { goal: 10, must: 20 }),
      slowest(works, "routingUs100Replicas100Kb", 100 * 1024, { goal: 75, must: 100 }),
    ],
    notes: [
      "Policies that do not look at the prompt cost the same for every size. Before prefix-cache-affinity the prompt is read from JSON, once; that is a row of its own.",
    ],
  };
}

/** The policy that costs most at 100 replicas. */
function slowest(
  works: readonly RoutingWork[],
  key: string,
  promptBytes: number,
  limits: Ratio["limits"],
): Ratio {
  const median = ({ microseconds }: RoutingWork): number => spreadOf(microseconds).median;
  const [worst] = works
    .filter((work) => work.replicas === 100 && work.promptBytes === promptBytes)
    .toSorted((one, other) => median(other) - median(one));
  return {
    key,
    title: `choosing among 100 replicas, ${promptBytes / 1024} KB prompt, slowest policy (${worst!.policy})`,
    unit: "us",
    values: worst!.microseconds,
    limits,
  };
}
