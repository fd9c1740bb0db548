import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { RunReport } from "../src/benchmark/run-report.ts";
import { runCommandLine } from "../src/cli/command-line.ts";
import type { DoctorReport } from "../src/doctor/examine.ts";
import { MockVLLMEngine } from "../src/testing/index.ts";

let stdout = "";
let stderr = "";
let folder = "";
const engines: MockVLLMEngine[] = [];

beforeEach(() => {
  stdout = "";
  stderr = "";
  folder = mkdtempSync(join(tmpdir(), "serve-llm-"));
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    stderr += String(text);
    return true;
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
  await Promise.all(engines.splice(0).map((engine) => engine.stop()));
});

async function engine(
  role: "prefill" | "decode",
  more: { model?: string; apiKey?: string } = {},
): Promise<string> {
  const made = new MockVLLMEngine({ role, ...more });
  engines.push(made);
  await made.start();
  return made.url;
}

function serveLLM(...args: readonly string[]): Promise<number> {
  return runCommandLine(["node", "serve-llm", ...args]);
}

describe("serve-llm doctor", () => {
  it("prints what it found, and exits 0 when nothing is wrong", async () => {
    const [prefill, decode] = [await engine("prefill"), await engine("decode")];
    expect(await serveLLM("doctor", "--prefill", prefill, "--decode", decode)).toBe(0);
    expect(stdout).toContain("✓ kv-moved");
    expect(stdout).toContain("first token after");
    expect(stdout).toMatch(/No problems, no warnings\n$/);
    stdout = "";
    expect(await serveLLM("doctor", "--prefill", prefill, "--decode", decode, "--quiet")).toBe(0);
    expect(stdout).not.toContain("✓");
  });

  it("exits 1 with problems, and says the same as JSON", async () => {
    const [prefill, decode] = [await engine("prefill"), await engine("decode", { model: "other" })];
    const args = ["doctor", "--prefill", prefill, "--decode", decode, "--model", "mock-model"];
    expect(await serveLLM(...args)).toBe(1);
    expect(stdout).toMatch(/✗ model .*"mock-model"/);
    expect(stdout).toContain("→ ");
    stdout = "";
    expect(await serveLLM(...args, "--json")).toBe(1);
    const report = JSON.parse(stdout) as DoctorReport;
    expect(report).toMatchObject({ problems: 1, modelId: "mock-model" });
    expect(report.findings.find(({ severity }) => severity === "problem")).toMatchObject({
      check: "model",
      engines: [decode],
    });
  });

  it("takes model and connector from a config file, and the key from the environment", async () => {
    const more = { model: "llama-8b", apiKey: "secret-key" };
    const [prefill, decode] = [await engine("prefill", more), await engine("decode", more)];
    const args = ["doctor", "examples/serve_pd_config.yaml", "--json"];
    const urls = ["--prefill", prefill, "--decode", decode];
    vi.stubEnv("ENGINE_KEY", "secret-key");
    expect(await serveLLM(...args, ...urls, "--api-key-env", "ENGINE_KEY"), stdout + stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ modelId: "llama-8b", pairs: [{ disaggregated: true }] });
    expect(stdout + stderr).not.toContain("secret-key");
    expect(await serveLLM(...args)).toBe(1);
    expect(stderr).toContain("does not say where these engines are");
  });

  it("starts no engines of a file that names a scaling target, but examines those that run", async () => {
    const [prefill, decode] = [await engine("prefill"), await engine("decode")];
    const folder = mkdtempSync(join(tmpdir(), "serve-llm-doctor-"));
    const file = join(folder, "serve.yaml");
    const config = {
      model_loading_config: { model_id: "mock-model" },
      engine_kwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
      scaling_target: { processes: { command: "/nowhere/vllm" } },
    };
    const application = {
      name: "pd",
      import_path: "ray.serve.llm:build_pd_openai_app",
      args: { prefill_config: config, decode_config: config },
    };
    writeFileSync(file, JSON.stringify({ applications: [application] }));
    try {
      expect(await serveLLM("doctor", file)).toBe(1);
      expect(stderr).toContain("Engines of a scaling target are examined when they run");
      const urls = ["--prefill", prefill, "--decode", decode];
      expect(await serveLLM("doctor", file, ...urls, "--json"), stdout + stderr).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ pairs: [{ disaggregated: true }] });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("needs nothing but a config file that says where the engines are", async () => {
    const [prefill, decode] = [await engine("prefill"), await engine("decode")];
    const file = join(folder, "serve.yaml");
    const side = (url: string): object => ({
      model_loading_config: { model_id: "mock-model" },
      engine_kwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
      endpoints: [url],
    });
    const application = {
      import_path: "ray.serve.llm:build_pd_openai_app",
      args: { prefill_config: side(prefill), decode_config: side(decode) },
    };
    writeFileSync(file, JSON.stringify({ applications: [application] }));
    expect(await serveLLM("doctor", file, "--json"), stdout + stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ pairs: [{ prefill, decode, proof: { verdict: "moved" } }] });
    expect(await serveLLM("doctor", join(folder, "none.yaml"))).not.toBe(0);
    expect(stderr).toContain("none.yaml");
  });

  it.each([
    [["doctor"], /--prefill URL,URL/],
    [["doctor", "--prefill", "nonsense", "--decode", "http://x"], /valid URL/],
    [["doctor", "a.yaml", "--model", "m"], /--model stands in the config file/],
    [["doctor", "--unknown"], /unknown option/],
  ] as const)("%s: is misused", async (args, message) => {
    expect(await serveLLM(...args)).toBe(2);
    expect(stderr).toMatch(message);
  });
});

describe("serve-llm bench", () => {
  const quick = ["--ttft-ms", "0", "--itl-ms", "0", "--prefill-ms-per-token", "0", "--prompt-tokens", "20"];

  it("measures mock engines behind the library, and writes a report that can be compared", async () => {
    const [before, after] = [join(folder, "before.json"), join(folder, "after.json")];
    const run = ["bench", ...quick, "--output-tokens", "uniform:4-8", "--no-eos", "--slo-ttft-ms", "60000"];
    expect(await serveLLM(...run, "--requests", "12", "--concurrency", "3", "--out", before), stderr).toBe(0);
    expect(stdout).toContain("12 of 12 requests succeeded");
    expect(stdout).toMatch(/time to first token( +[\d.]+){6}/);
    const more = ["--turns", "2", "--shared-prefixes", "2", "--shared-prefix-tokens", "20"];
    expect(await serveLLM(...run, ...more, "--requests", "6", "--rate", "500", "--out", after)).toBe(0);
    const report = JSON.parse(readFileSync(after, "utf8")) as RunReport;
    expect(report.options).toMatchObject({ shape: "open", rate: 500, turns: 2, seed: 1 });
    expect(report.summary).toMatchObject({ requests: 12, succeeded: 12, goodput: { share: 1 } });
    stdout = "";
    expect(await serveLLM("bench", "compare", before, after, "--json")).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ differingOptions: expect.arrayContaining(["rate", "turns"]) });
    stdout = "";
    expect(await serveLLM("bench", "compare", before, after)).toBe(0);
    expect(stdout).toContain("The runs differ in:");
  });

  it("puts the load of a trace on an endpoint, and finds out its model", async () => {
    const url = await engine("decode");
    const trace = join(folder, "trace.jsonl");
    const line = (atMs: number): string =>
      JSON.stringify({ atMs, promptTokens: 9, outputTokens: 4, user: "x" });
    writeFileSync(trace, [line(30), line(0), line(60)].join("\n"));
    expect(
      await serveLLM("bench", "--url", url, "--trace", trace, "--trace-speed", "3", "--json"),
      stderr,
    ).toBe(0);
    expect(stderr).toContain("Fields of the trace without effect: user");
    expect(JSON.parse(stdout)).toMatchObject({
      options: { model: "mock-model", shape: "trace", target: url },
      summary: { requests: 3, succeeded: 3 },
    });
  });

  it("puts up the application of a config file, and loads that", async () => {
    const file = join(folder, "serve.yaml");
    const llm = (side: string): string =>
      `${side}_config: {model_loading_config: {model_id: mock-model}, engine_kwargs: {kv_transfer_config: {kv_connector: NixlConnector, kv_role: kv_both}}}`;
    const args = `{${llm("prefill")}, ${llm("decode")}}`;
    writeFileSync(
      file,
      `applications:\n- {route_prefix: /llm, import_path: "ray.serve.llm:build_pd_openai_app", args: ${args}}\n`,
    );
    const sides = ["--prefill", await engine("prefill"), "--decode", await engine("decode")];
    const load = ["--requests", "4", "--prompt-tokens", "9", "--output-tokens", "4", "--json"];
    expect(await serveLLM("bench", file, ...sides, ...load), stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      options: { model: "mock-model", target: file },
      summary: { requests: 4, succeeded: 4 },
    });
    expect(engines.map(({ ledger }) => ledger.consumed)).toEqual([4, 0]);
  });

  it("exits 1 when nothing succeeded, and says why", async () => {
    const url = await engine("decode");
    engines[0]!.injectFault({ fault: { kind: "status", status: 503 } });
    expect(await serveLLM("bench", "--url", url, "--requests", "3", "--prompt-tokens", "5")).toBe(1);
    expect(stdout).toContain("3 failed: status 503");
    expect(stderr).toContain("No request succeeded");
  });

  it.each([
    [["bench", "--rate", "1", "--concurrency", "1"], /--concurrency and --rate do not go together/],
    [["bench", "--trace", "t.jsonl", "--turns", "2"], /--turns has no effect with --trace/],
    [["bench", "--url", "http://x", "--itl-ms", "5"], /--itl-ms has no effect with --url/],
    [["bench", "--trace-speed", "2"], /--trace-speed has no effect without --trace/],
    [["bench", "--shared-prefix-tokens", "9"], /--shared-prefix-tokens has no effect without/],
    [["bench", "--api-key-env", "KEY"], /--api-key-env has no effect without --url/],
    [["bench", "--prefill", "http://p"], /--prefill has no effect without a config file/],
    [["bench", "a.yaml", "--url", "http://x"], /--url has no effect with a config file/],
    [["bench", "--prompt-tokens", "many"], /uniform:64-256/],
    [["bench", "--rate", "0"], /above 0/],
    [["bench", "compare", "one.json"], /missing required argument/],
  ] as const)("%s: is misused", async (args, message) => {
    expect(await serveLLM(...args)).toBe(2);
    expect(stderr).toMatch(message);
  });
});
