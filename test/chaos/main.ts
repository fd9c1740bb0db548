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
const keepAlive = setInterval(() => undefined, 1000);
let failed = false;
for (let offset = 0; offset < Number(values.seeds); offset += 1) {
  const report = await runChaos({
    seed: Number(values.seed) + offset,
    requests: Number(values.requests),
    concurrency: Number(values.concurrency),
  });
  const { seed, requests, right, explicitErrors, aborted, faults, restarts, holds, problems } = report;
  console.log(
    `seed ${seed}: ${requests} requests, ${right} right, ${explicitErrors} explicit errors, ${aborted} aborted by us; ` +
      `${faults} faults, ${restarts} restarts; holds ${JSON.stringify(holds.ended)}; ${problems.length} problems`,
  );
  for (const problem of problems.slice(0, 20)) console.log(`  ${problem}`);
  failed ||= problems.length > 0;
}
clearInterval(keepAlive);
console.log(failed ? "chaos: FAILED" : "chaos: zero lies, zero leaks");
if (failed) process.exitCode = 1;
