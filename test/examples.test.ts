import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { mockAnswer } from "../src/testing/index.ts";
import { loadConfig } from "../src/builders/load-config.ts";

const root = join(import.meta.dirname, "..");
const answer = mockAnswer({ messages: [{ role: "user", content: "Say something." }] });

/** What each example must print. */
const outputs: Readonly<Record<string, readonly string[]>> = {
  "node-http.ts": [`answered: ${answer}`],
  "express.ts": [`/llm answered: ${answer}`, "/hello answered: hello"],
  "in-process.ts": [`whole:   ${answer}`, `streamed: ${answer}`],
  "component-api.ts": [`answered: ${answer}`],
  "unit-test.ts": ["# pass 3", "# fail 0"],
};

describe("the examples", () => {
  it("are all tried here", () => {
    const examples = readdirSync(join(root, "examples")).filter(
      (name) => name.endsWith(".ts") && name !== "engines.ts",
    );
    expect(examples.sort()).toEqual(Object.keys(outputs).sort());
  });

  it.concurrent.each(Object.entries(outputs))("%s runs", async (name, expected) => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--import", "tsx", join("examples", name), "--once"],
      { cwd: root },
    );
    for (const text of expected) expect(stdout).toContain(text);
  });

  it("serve_pd_config.yaml loads", () => {
    const { applications, notes } = loadConfig(join(root, "examples", "serve_pd_config.yaml"), {
      prefill: ["http://prefill:8000"],
      decode: ["http://decode:8000"],
    });
    expect(applications.map(({ name, routePrefix }) => [name, routePrefix])).toEqual([["llm_pd_app", "/"]]);
    expect(notes).toEqual(
      ["prefill_config", "decode_config"].map((side) =>
        expect.stringContaining(`${side}: deployment_config: autoscaling_config has no effect`),
      ),
    );
  });
});
