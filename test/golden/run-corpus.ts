import { readFileSync } from "node:fs";

import type { Check, GoldenCase } from "./golden-case.ts";

/** What became of one case. */
export interface CaseResult {
  readonly id: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** Why it failed or was skipped. */
  readonly detail: string | undefined;
}

/** Reads a corpus: one JSON case a line. */
export function readCorpus(file: string): readonly GoldenCase[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => JSON.parse(line) as GoldenCase);
}

/** Runs every case of a corpus, one after the other. */
export async function runCorpus(cases: readonly GoldenCase[], check: Check): Promise<readonly CaseResult[]> {
  const results: CaseResult[] = [];
  for (const kase of cases) {
    try {
      const skip = await check(kase);
      results.push({
        id: kase.id,
        outcome: skip === undefined ? "passed" : "skipped",
        detail: skip ?? undefined,
      });
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      results.push({ id: kase.id, outcome: "failed", detail });
    }
  }
  return results;
}
