// Draws the plots of docs/scaling-out.md from simulations: npx tsx test/simulation/main.ts
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { drawLines, type LinePlot } from "./line-plot.ts";
import { simulate, type SimulationOptions, type SimulationResult } from "./simulation.ts";

const folder = join(import.meta.dirname, "../../docs/scaling-out");
const seeds = [1, 2, 3];
const routerCounts = [1, 2, 4, 8, 16];
const base = { replicas: 8, slots: 32, utilisation: 0.7, requests: 20_000 } as const;
const shared = { prefixes: 200, cachedPrefixes: 60 } as const;

function over<Place>(
  places: readonly Place[],
  options: (place: Place) => SimulationOptions,
  read: (result: SimulationResult) => number,
): readonly number[] {
  return places.map((place) => {
    const values = seeds.map((seed) => read(simulate({ ...options(place), seed })));
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  });
}

function draw(name: string, plot: LinePlot): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.svg`), drawLines(plot));
  for (const { name: line, values } of plot.lines)
    process.stdout.write(`${[name, line, ...values.map((value) => value.toFixed(3))].join("  ")}\n`);
}

const xTitle = "processes that choose";
const xNames = routerCounts.map(String);
draw("balance", {
  title: "Fullest replica by the mean one, 8 replicas at 70 %",
  xTitle,
  xNames,
  from: 1,
  to: 1.5,
  lines: ["power-of-two", "least-loaded", "round-robin", "kv-pressure", "consistent-hash"].map((policy) => ({
    name: policy,
    values: over(
      routerCounts,
      (routers) => ({ ...base, policy, routers }),
      ({ peakToMean }) => peakToMean,
    ),
  })),
});
const cachePolicies = ["prefix-cache-affinity", "session-affinity", "power-of-two"];
draw("hits", {
  title: "Requests whose beginning was cached where they went",
  xTitle,
  xNames,
  from: 0.5,
  to: 1,
  lines: cachePolicies.map((policy) => ({
    name: policy,
    values: over(
      routerCounts,
      (routers) => ({ ...base, ...shared, policy, routers }),
      ({ hitShare }) => hitShare,
    ),
  })),
});
draw("reports", {
  title: "Fullest replica by the mean one, 8 processes",
  xTitle: "seconds between two reports of an engine (never: own counts only)",
  xNames: ["never", "1", "3", "10", "30"],
  from: 1,
  to: 1.5,
  lines: ["power-of-two", "least-loaded", "kv-pressure"].map((policy) => ({
    name: policy,
    values: over(
      [0, 1_000, 3_000, 10_000, 30_000],
      (scrapeMs) => ({ ...base, policy, routers: 8, scrapeMs }),
      ({ peakToMean }) => peakToMean,
    ),
  })),
});
