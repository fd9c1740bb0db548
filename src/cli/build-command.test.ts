import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { parseYaml } from "../config/read-yaml.ts";
import { runCommandLine } from "./command-line.ts";

const file = "examples/serve_pd_config.yaml";

let stdout = "";
let stderr = "";

beforeEach(() => {
  stdout = "";
  stderr = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => Boolean((stdout += String(text))));
  vi.spyOn(process.stderr, "write").mockImplementation((text) => Boolean((stderr += String(text))));
});
afterEach(() => vi.restoreAllMocks());

function build(...words: readonly string[]): Promise<number> {
  return runCommandLine(["node", "serve-llm", "build", ...words]);
}

describe("serve-llm build", () => {
  it("writes a file for Ray that it reads itself", async () => {
    expect(await build("--target", "ray", file)).toBe(0);
    const { applications } = parseYaml(stdout, "ray") as { applications: readonly { import_path: string }[] };
    expect(applications[0]?.import_path).toBe("ray.serve.llm:build_pd_openai_app");
    expect(stdout).not.toMatch(/endpoints|client/);
  });

  it("writes a RayService", async () => {
    expect(await build("--target", "rayservice", file, "--name", "llm", "--image", "ray:1", "--json")).toBe(
      0,
    );
    expect(JSON.parse(stdout)).toMatchObject({
      kind: "RayService",
      metadata: { name: "llm" },
      spec: { serveConfigV2: expect.stringContaining("build_pd_openai_app") as string },
    });
  });

  it("writes a vllm serve command for each engine, with GPUs of their own on a shared host", async () => {
    const where = [
      "--prefill",
      "http://10.0.0.1:8000,http://10.0.0.1:8001",
      "--decode",
      "http://10.0.0.2:8000",
    ];
    expect(await build("--target", "vllm", file, ...where, "--json")).toBe(0);
    const commands = JSON.parse(stdout) as readonly {
      readonly role: string;
      readonly command: readonly string[];
      readonly env: Readonly<Record<string, string>>;
    }[];
    expect(commands.map(({ role }) => role)).toEqual(["prefill", "prefill", "decode"]);
    const devices = commands.slice(0, 2).flatMap(({ env }) => env["CUDA_VISIBLE_DEVICES"]!.split(","));
    expect(new Set(devices).size).toBe(devices.length);
    expect(commands[2]?.env).toMatchObject({
      VLLM_NIXL_SIDE_CHANNEL_HOST: "10.0.0.2",
      VLLM_NIXL_SIDE_CHANNEL_PORT: "22000",
    });
    stdout = "";
    expect(await build("--target", "vllm", file)).toBe(0);
    expect(stdout).toMatch(/^# .*Prefill:.*, engine 0\nVLLM_NIXL_SIDE_CHANNEL_PORT=20000 \\\n/);
    expect(stderr).toMatch(/Warning: no nodeIp is given/);
  });

  it("says what it was not told", async () => {
    expect(await build(file)).toBe(2);
    expect(await build("--target", "ray", file, "--name", "x")).toBe(2);
    expect(stderr).toMatch(/--name goes with --target rayservice/);
    expect(await build("--target", "ray", file, "--application", "other")).toBe(2);
    expect(stderr).toMatch(/The file has no application "other"/);
    expect(await build("--target", "ray", "missing.yaml")).toBe(1);
  });
});
