import { existsSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { corpora } from "./corpora.ts";
import { readCorpus, runCorpus } from "./run-corpus.ts";

describe("behaves as Ray Serve LLM 2.58.0 was recorded to", () => {
  it.each(Object.keys(corpora))("%s", async (name) => {
    const file = join(import.meta.dirname, `${name}.jsonl`);
    expect(existsSync(file), `${name}.jsonl is missing`).toBe(true);
    const load = corpora[name];
    if (load === undefined) throw new Error(`no check for ${name}`);
    const { check } = await load();
    const results = await runCorpus(readCorpus(file), check);
    const failures = results.filter((each) => each.outcome === "failed");
    expect(failures.map((each) => `${each.id}: ${each.detail ?? ""}`)).toEqual([]);
    expect(results.some((each) => each.outcome === "passed")).toBe(true);
  });
});
