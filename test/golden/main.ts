import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { corpora } from "./corpora.ts";
import { readCorpus, runCorpus } from "./run-corpus.ts";

// Usage: tsx test/golden/main.ts [DIR] [--verbose] [--only CORPUS]
const parameters = process.argv.slice(2);
const verbose = parameters.includes("--verbose");
const onlyAt = parameters.indexOf("--only");
const only = onlyAt < 0 ? undefined : parameters[onlyAt + 1];
const given = parameters.find(
  (each, index) => !each.startsWith("--") && (onlyAt < 0 || index !== onlyAt + 1),
);
const shared = join(import.meta.dirname, "../../../shared/golden");
const directory = given ?? (existsSync(shared) ? shared : import.meta.dirname);

const totals = { passed: 0, failed: 0, skipped: 0 };
const names = readdirSync(directory)
  .filter((file) => file.endsWith(".jsonl"))
  .map((file) => file.slice(0, -".jsonl".length))
  .filter((name) => only === undefined || name === only)
  .sort();

for (const name of names) {
  const load = corpora[name];
  if (load === undefined) {
    console.log(`${name}: no check for this corpus here`);
    continue;
  }
  const { check } = await load();
  const results = await runCorpus(readCorpus(join(directory, `${name}.jsonl`)), check);
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const { id, outcome, detail } of results) {
    counts[outcome] += 1;
    totals[outcome] += 1;
    if (verbose && outcome !== "passed") console.log(`  ${outcome} ${id}: ${detail ?? ""}`);
  }
  console.log(`${name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
}
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
if (totals.failed > 0 || totals.passed === 0) process.exitCode = 1;
