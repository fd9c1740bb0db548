import { parseArgs } from "node:util";
import { runChaos } from "./chaos-run.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    seeds: { type: "string", default: "1" },
    requests: { type: "string", default: "1000" },
    concurrency: { type: "string", default: "24" },
  },
});

// The library's timers keep no process alive, and near the end only timers are left.
const total = {
  requests: 0,
  right: 0,
  explicitErrors: 0,
  aborted: 0,
  faults: 0,
  restarts: 0,
  poolChanges: 0,
  problems: 0,
};
const keepAlive = setInterval(() => undefined, 1000);
let failed = false;
for (let offset = 0; offset < Number(values.seeds); offset += 1) {
  const report = await runChaos({
    seed: Number(values.seed) + offset,
    requests: Number(values.requests),
    concurrency: Number(values.concurrency),
  });
  const { seed, requests, right, explicitErrors, aborted, faults, restarts, poolChanges, holds, problems } =
    report;
  for (const key of Object.keys(total) as (keyof typeof total)[]) {
    total[key] += key === "problems" ? problems.length : report[key];
  }
  console.log(
    `seed ${seed}: ${requests} requests, ${right} right, ${explicitErrors} explicit errors, ${aborted} aborted by us; ` +
      `${faults} faults, ${restarts} restarts, ${poolChanges} pool changes; holds ${JSON.stringify(holds.ended)}; ${problems.length} problems`,
  );
  for (const problem of problems.slice(0, 20)) console.log(`  ${problem}`);
  failed ||= problems.length > 0;
}
clearInterval(keepAlive);
console.log(`in all: ${JSON.stringify(total)}`);
console.log(failed ? "chaos: FAILED" : "chaos: zero lies, zero leaks");
if (failed) process.exitCode = 1;
