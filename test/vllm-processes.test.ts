import { spawn } from "node:child_process";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { buildPdOpenaiApp } from "../src/builders/build-pd-openai-app.ts";
import { LLMConfig } from "../src/config/llm-config.ts";
import type { LLMConfigInit } from "../src/config/llm-config-init.ts";
import type { OpenAiIngress } from "../src/ingress/openai-ingress.ts";
import {
  type EngineLine,
  vllmProcesses,
  type VllmProcessesOptions,
} from "../src/scaling-targets/vllm-processes.ts";
import type { Application } from "../src/serve/application.ts";
import { mockAnswer } from "../src/testing/index.ts";

const root = join(import.meta.dirname, "..");
const script = join(root, "test", "support", "mock-vllm.ts");
const tsx = join(root, "node_modules", "tsx", "dist", "loader.mjs");
const command = [process.execPath, "--import", tsx, script];
const model = "mock-model";

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

type App = Application<OpenAiIngress>;

/** A prefill/decode application whose engines are processes. */
function makeApp(
  options: {
    prefill?: VllmProcessesOptions;
    decode?: VllmProcessesOptions;
    config?: Partial<LLMConfigInit>;
  } = {},
): { app: App; lines: EngineLine[]; warnings: string[] } {
  const lines: EngineLine[] = [];
  const warnings: string[] = [];
  const side = (processes: VllmProcessesOptions = {}): LLMConfig =>
    new LLMConfig({
      modelLoadingConfig: { modelId: model },
      acceleratorType: "A100",
      engineKwargs: {
        tensor_parallel_size: 2,
        kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" },
      },
      client: { apiKey: "key-of-the-engines" },
      scalingTarget: vllmProcesses({
        command,
        onLine: (line) => lines.push(line),
        stopTimeoutMs: 5_000,
        ...processes,
      }),
      ...options.config,
    });
  const app = buildPdOpenaiApp({
    prefillConfig: side(options.prefill),
    decodeConfig: side(options.decode),
  }).withEnvironment({ warn: (message) => warnings.push(message) });
  cleanups.push(() => app.shutdown({ graceMs: 0 }));
  return { app, lines, warnings };
}

/** Looks again and again: what it waits for happens in another process. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
}

const pool = (app: App, side: "Prefill" | "Decode") => app.status().deployments[`${side}:${model}`]!;
const running = (app: App, side: "Prefill" | "Decode"): number => pool(app, side).replicas.length;

/** What an engine was started with, which the stand-in for vLLM prints. */
function started(
  lines: readonly EngineLine[],
): { engine: string; pid: number; words: string[]; env: Record<string, string> }[] {
  return lines
    .filter(({ line }) => line.startsWith("{"))
    .map(({ engine, line }) => ({
      engine,
      ...(JSON.parse(line) as { pid: number; words: string[]; env: Record<string, string> }),
    }));
}

const messages = [{ role: "user", content: "Say something." }] as const;

function ask(app: App): Promise<string | null | undefined> {
  return app.handle
    .chat({ model, messages: [...messages] })
    .then((answer) => answer.choices[0]?.message.content);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe("vllmProcesses", { timeout: 60_000 }, () => {
  it("starts what toVllmCommand says, answers through it, and leaves nothing behind", async () => {
    const { app, lines, warnings } = makeApp({
      prefill: { gpus: ["GPU-a", "GPU-b"] },
      decode: { gpus: [4, 5, 6, 7] },
      config: { deploymentConfig: { numReplicas: 1 } },
    });
    // Held until the engines are there.
    expect(await ask(app)).toBe(mockAnswer({ messages: [...messages] }));
    expect(app.pdHealth()[0]).toMatchObject({ disaggregated: 1 });
    expect(pool(app, "Prefill")).toMatchObject({
      status: "HEALTHY",
      targetReplicas: 1,
      replicaStates: { RUNNING: 1 },
    });
    const engines = started(lines).toSorted((one, other) => (one.engine < other.engine ? -1 : 1));
    expect(engines.map(({ engine }) => engine)).toEqual([`Decode:${model}/0`, `Prefill:${model}/0`]);
    const [decode, prefill] = engines;
    expect(prefill!.words.slice(0, 4)).toEqual(["serve", model, "--served-model-name", model]);
    expect(prefill!.words).toContain("--tensor-parallel-size");
    expect(prefill!.words.join(" ")).not.toContain("key-of-the-engines");
    expect(prefill!.env).toEqual({
      CUDA_VISIBLE_DEVICES: "GPU-a,GPU-b",
      VLLM_NIXL_SIDE_CHANNEL_HOST: "127.0.0.1",
      VLLM_NIXL_SIDE_CHANNEL_PORT: "20000",
      VLLM_API_KEY: "key-of-the-engines",
    });
    expect(decode!.env).toMatchObject({ CUDA_VISIBLE_DEVICES: "4,5", VLLM_NIXL_SIDE_CHANNEL_PORT: "22000" });
    await app.shutdown();
    expect(engines.map(({ pid }) => isAlive(pid))).toEqual([false, false]);
    expect(warnings).toEqual([]);
  });

  it("starts an engine that crashed again, and says what it said last", async () => {
    const { app, lines, warnings } = makeApp();
    await app.start();
    await until(() => running(app, "Prefill") === 1 && running(app, "Decode") === 1);
    const [engine] = started(lines).filter(({ engine }) => engine.startsWith("Decode"));
    process.kill(engine!.pid, "SIGKILL");
    await until(() => started(lines).length === 3 && running(app, "Decode") === 1);
    expect(await ask(app)).toBe(mockAnswer({ messages: [...messages] }));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(
      /^Engine 0 of "Decode:mock-model" ended and is started again in 1 s: signal SIGKILL; it said last:\n {2}\{/,
    );
  });

  it("starts no more engines than fit on its GPUs, and says so once", async () => {
    const { app, warnings } = makeApp({
      decode: { gpus: 5 },
      config: { deploymentConfig: { numReplicas: 3 } },
      prefill: { command: ["/nowhere/vllm"] },
    });
    await app.start();
    await until(() => running(app, "Decode") === 2 && warnings.length >= 3);
    expect(pool(app, "Decode")).toMatchObject({
      targetReplicas: 3,
      replicaStates: { RUNNING: 2, STARTING: 1 },
    });
    expect(warnings.filter((text) => text.includes("GPUs"))).toEqual([
      '3 engines are wanted of "Decode:mock-model", but its GPUs hold 2 of 2 each.',
    ]);
    expect(warnings.find((text) => text.includes("Engine 0"))).toContain("ENOENT");
  });

  it("refuses options that are no use, two deployments, and endpoints beside it", async () => {
    expect(() => vllmProcesses({ gpus: 0 })).toThrow(/gpus/);
    expect(() => vllmProcesses({ gpus: [1, 1] })).toThrow(/different GPUs/);
    expect(() => vllmProcesses({ gpus: 1.5 })).toThrow(/gpus/);
    expect(() => vllmProcesses({ command: [] })).toThrow(/command/);
    expect(() => vllmProcesses({ port: 1 } as never)).toThrow(/port: Extra inputs/);
    const target = vllmProcesses({ command });
    const { app } = makeApp({ config: { scalingTarget: target } });
    await expect(app.start()).rejects.toThrow(/scales "(Prefill|Decode):mock-model" already/);
    expect(() => makeApp({ config: { endpoints: ["http://a:1"] } })).toThrow(/leave endpoints out/);
  });

  it("ends the engines when this process is killed", async () => {
    const child = spawn(
      process.execPath,
      ["--import", tsx, join(root, "test", "support", "process-owner.ts")],
      {
        cwd: root,
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    let output = "";
    for await (const text of child.stdout) {
      output += String(text);
      if (output.includes("Mock vLLM engine serves")) break;
    }
    const pids = [...output.matchAll(/"pid":(\d+),/g)].map(([, pid]) => Number(pid));
    expect(pids.map(isAlive)).toEqual([true]);
    child.kill("SIGKILL");
    await until(() => !pids.some(isAlive));
  });
});
