import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { stringify } from "yaml";

import { loadConfig } from "../src/builders/load-config.ts";
import { mockAnswer } from "../src/testing/index.ts";

const root = join(import.meta.dirname, "..");
const tsx = join(root, "node_modules", "tsx", "dist", "loader.mjs");
const command = [process.execPath, "--import", tsx, join(root, "test", "support", "mock-vllm.ts")];
const model = "mock-model";
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** One side as a config file has it: seconds where the seed has minutes, and processes in place of GPUs. */
const side = (maxReplicas: number, latency: readonly string[]): Record<string, unknown> => ({
  model_loading_config: { model_id: model },
  engine_kwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
  deployment_config: {
    autoscaling_config: {
      min_replicas: 1,
      max_replicas: maxReplicas,
      target_ongoing_requests: 4,
      upscale_delay_s: 0.2,
      downscale_delay_s: 0.5,
      look_back_period_s: 0.5,
      metrics_interval_s: 0.1,
    },
    // Far above what a request takes, on a slow machine, too.
    graceful_shutdown_timeout_s: 600,
  },
  scaling_target: { processes: { command: [...command, ...latency] } },
});

/** Looks again and again: what it waits for happens in other processes. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe("a burst on processes that a config file names", { timeout: 120_000 }, () => {
  it("makes both pools grow and shrink on their own, and loses no request", async () => {
    const yaml = stringify({
      applications: [
        {
          name: "pd",
          import_path: "ray.serve.llm:build_pd_openai_app",
          args: { prefill_config: side(2, ["--ttft-ms", "400"]), decode_config: side(3, ["--itl-ms", "20"]) },
        },
      ],
    });
    const loaded = loadConfig(yaml);
    expect(loaded.notes).toEqual([]);
    const warnings: string[] = [];
    const app = loaded.applications[0]!.app.withEnvironment({ warn: (message) => warnings.push(message) });
    cleanups.push(() => app.shutdown({ graceMs: 0 }));
    const pool = (name: "Prefill" | "Decode") => app.status().deployments[`${name}:${model}`]!;
    const running = (name: "Prefill" | "Decode"): number => pool(name).replicaStates["RUNNING"] ?? 0;

    /** Asks again and again while `more` is true. */
    let more: (client: number) => boolean = () => true;
    let answered = 0;
    const clients = Array.from({ length: 12 }, async (_, client) => {
      while (more(client)) {
        const messages = [{ role: "user" as const, content: `client ${client}` }];
        const answer = await app.handle.chat({ model, messages });
        expect(answer.choices[0]?.message.content).toBe(mockAnswer({ messages }));
        answered += 1;
      }
    });
    // 12 requests, each of which takes a decode slot all the time, and prefill for most of it, at 4 an engine.
    await Promise.race([
      Promise.all(clients),
      until(() => running("Prefill") === 2 && running("Decode") === 3),
    ]);
    expect([running("Prefill"), running("Decode")]).toEqual([2, 3]);
    // One client goes on, so that requests run while engines leave.
    more = (client) => client === 0;
    const isSmall = (name: "Prefill" | "Decode"): boolean =>
      running(name) === 1 && pool(name).replicas.length === 1 && pool(name).targetReplicas === 1;
    await Promise.race([clients[0], until(() => isSmall("Prefill") && isSmall("Decode"))]);
    const before = answered;
    await Promise.race([clients[0], until(() => answered > before + 1)]);
    more = () => false;
    await Promise.all(clients);
    for (const name of ["Prefill", "Decode"] as const) {
      expect(pool(name)).toMatchObject({ status: "HEALTHY", statusTrigger: "DOWNSCALE_COMPLETED" });
    }
    await app.shutdown();
    expect(warnings).toEqual([]);
  });
});
