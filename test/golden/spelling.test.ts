import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { toCamelCase } from "../../src/config/casing.ts";
import { LLMConfig } from "../../src/config/llm-config.ts";
import type { LLMConfigInit } from "../../src/config/llm-config-init.ts";
import { accepted, attempt } from "./compare.ts";
import { readCorpus } from "./run-corpus.ts";

/** Maps whose keys belong to others, or are read by another rule. */
const opaque = new Set([
  "engine_kwargs",
  "experimental_configs",
  "user_config",
  "request_router_kwargs",
  "policy_kwargs",
  "callback_kwargs",
  "env_vars",
  // May hold keys that Serve does not know and refuses later.
  "ray_actor_options",
  "resources",
  "bundles",
  "bundle_per_worker",
]);

function inCamelCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inCamelCase);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [
      toCamelCase(key),
      opaque.has(key) ? part : inCamelCase(part),
    ]),
  );
}

describe("both spellings mean the same", () => {
  const cases = readCorpus(join(import.meta.dirname, "llm-config.jsonl"));

  it("for every configuration that Ray was asked to read", () => {
    let count = 0;
    for (const { id, input } of cases) {
      const snake = attempt(() => new LLMConfig(input as LLMConfigInit));
      const camel = attempt(() => new LLMConfig(inCamelCase(input) as LLMConfigInit));
      if ("error" in snake) {
        expect("error" in camel, id).toBe(true);
        continue;
      }
      expect(accepted(camel).toPython(), id).toEqual(snake.value.toPython());
      count += 1;
    }
    expect(count).toBeGreaterThan(200);
  });
});
