// The benchmark: `npm run bench`. See README.md beside this file.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import undici from "undici/package.json" with { type: "json" };
import own from "../package.json" with { type: "json" };
import { Bench } from "./bench.ts";
import { buildAll } from "./build.ts";
import { canPinTo, killAll } from "./child.ts";
import { readOptions, usage } from "./options.ts";
import { missedOf, type RunReport, toJson, toTables } from "./report.ts";
import type { WorkloadResult } from "./result.ts";
import { doors } from "./workloads/doors.ts";
import { events } from "./workloads/events.ts";
import { firstToken } from "./workloads/first-token.ts";
import { memory } from "./workloads/memory.ts";
import { loopBlock, prompts } from "./workloads/prompts.ts";
import { requests } from "./workloads/requests.ts";
import { routing } from "./workloads/routing.ts";
import { pool, slowStreams, throughput } from "./workloads/scale.ts";

/** The most important first: a busy machine may leave no time for the last. */
const workloads: Readonly<Record<string, (bench: Bench) => Promise<WorkloadResult>>> = {
  requests,
  events,
  "first-token": firstToken,
  prompts,
  "loop-block": loopBlock,
  memory,
  routing,
  doors,
  throughput,
  pool,
  "slow-streams": slowStreams,
};
/** Left out of a quick run unless it is asked for by name. */
const slow = new Set(["doors", "throughput", "pool", "slow-streams"]);
/** No workload is begun later than this, seconds: a machine that is busy otherwise can make any run endless. */
const latestStart = { full: 280, quick: 53 };

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2), Object.keys(workloads));
  if (options === "help" || options === "list") {
    console.log(options === "help" ? usage : Object.keys(workloads).join("\n"));
    return 0;
  }
  if (typeof options === "string") {
    console.error(options);
    return 2;
  }
  if (!existsSync("/proc/self/schedstat")) {
    console.error("The benchmark reads CPU times from /proc/PID/task/*/schedstat, which only Linux has.");
    return 2;
  }
  const begin = performance.now();
  const pinned = canPinTo(options.cpus);
  const built = await buildAll(options);
  const bench = await Bench.open(options, built);
  const results = new Map<string, WorkloadResult>();
  const failures = new Map<string, string>();
  const skipped: string[] = [];
  try {
    const names = Object.keys(workloads).filter((name) =>
      options.only.length > 0 ? options.only.includes(name) : !(options.quick && slow.has(name)),
    );
    const latest = bench.pick(latestStart.full, latestStart.quick);
    for (const name of names) {
      const started = performance.now();
      if (options.only.length === 0 && started - begin > latest * 1000) {
        skipped.push(name);
        continue;
      }
      try {
        results.set(name, await workloads[name]!(bench));
      } catch (error) {
        failures.set(name, (error as Error).message);
      }
      bench.log(`${name}: ${failures.get(name) ?? "measured"}, ${seconds(started)} s`);
    }
  } finally {
    await bench.close();
  }
  const cpu = cpus()[0];
  const facts: Record<string, string | number | boolean | null> = {
    date: new Date().toISOString(),
    machine: `${cpu?.model.trim() ?? "unknown CPU"}, ${cpus().length} CPUs, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${release()}`,
    node: process.version,
    undici: undici.version,
    "serve-llm": `${own.version} ${options.dist ?? commit()}`,
    baseline: bench.baselineName,
    nginx: bench.nginx ?? null,
    tools: built.tools === "c" ? "C (native/*.c)" : "Node (slower than the proxy's due: read with care)",
    pinned,
    mode: options.quick ? "quick" : "full",
    tookSeconds: Number(seconds(begin)),
  };
  if (skipped.length > 0) facts["leftOutForTime"] = skipped.join(", ");
  const report: RunReport = { facts, workloads: results, failures };
  console.log(options.json ? toJson(report) : toTables(report, options.markdown ? "markdown" : "text"));
  const missed = missedOf(report);
  if (failures.size > 0) return 1;
  return options.gate && missed.length > 0 ? 1 : 0;
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1);
}

/** What was measured: the commit, and whether the sources were changed since. */
function commit(): string {
  const git = (...args: readonly string[]): string =>
    execFileSync("git", [...args], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    return (
      git("rev-parse", "--short", "HEAD") +
      (git("status", "--porcelain", "src") === "" ? "" : " with changes")
    );
  } catch {
    return "";
  }
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    killAll();
    process.exit(130);
  });
}
process.on("exit", killAll);
process.exitCode = await main();
