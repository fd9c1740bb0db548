/** Starts one engine as a process of its own and waits to be killed; prints what the engine prints. */
import { join } from "node:path";
import { LLMConfig, buildOpenaiApp, vllmProcesses } from "../../src/index.ts";

const loader = join(import.meta.dirname, "..", "..", "node_modules", "tsx", "dist", "loader.mjs");
const app = buildOpenaiApp({
  llmConfigs: [
    new LLMConfig({
      modelLoadingConfig: { modelId: "mock-model" },
      scalingTarget: vllmProcesses({
        command: [process.execPath, "--import", loader, join(import.meta.dirname, "mock-vllm.ts")],
        stopTimeoutMs: 1_000,
        onLine: ({ line }) => process.stdout.write(`${line}\n`),
      }),
    }),
  ],
});
await app.start();
