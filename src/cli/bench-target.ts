import { buildPdOpenaiApp } from "../builders/build-pd-openai-app.ts";
import type { LLMConfigInit } from "../config/llm-config-init.ts";
import { run } from "../serve/run.ts";
import type { MockVLLMEngine } from "../testing/mock-vllm-engine.ts";
import { apiKeyFrom } from "./api-key.ts";
import type { BenchOptions } from "./bench-options.ts";
import type { CliLog } from "./cli-log.ts";
import { DemoEngines } from "./demo-engines.ts";
import { servedModel } from "./served-model.ts";

/** Where load goes, and how to take down what was put up for it. */
export interface BenchEndpoint {
  readonly url: string;
  readonly model: string;
  readonly apiKey: string | undefined;
  close(): Promise<void>;
}

const mockModel = "mock-model";

/**
 * The endpoint a user named, or mock engines with this library in front of them.
 *
 * @throws CliError when it can't be told which model to ask for
 */
export async function benchEndpoint(options: BenchOptions, log: CliLog): Promise<BenchEndpoint> {
  const { url } = options;
  const apiKey = options.apiKeyEnv === undefined ? undefined : apiKeyFrom(options.apiKeyEnv);
  if (url === undefined) return mockEndpoint(options, log);
  const sides = [{ option: "--url", urls: [url] }] as const;
  const model = options.model ?? (await servedModel(sides, apiKey, (message) => log.warn(message)));
  return { url, model, apiKey, close: () => Promise.resolve() };
}

async function mockEndpoint(options: BenchOptions, log: CliLog): Promise<BenchEndpoint> {
  const model = options.model ?? mockModel;
  const engines = new DemoEngines(options, model, options);
  const side = (made: readonly MockVLLMEngine[]): LLMConfigInit => ({
    modelLoadingConfig: { modelId: model },
    engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
    endpoints: made.map((engine) => engine.url),
  });
  try {
    await engines.start();
    const app = buildPdOpenaiApp({
      prefillConfig: side(engines.prefills),
      decodeConfig: side(engines.decodes),
      proxyClsConfig: { proxyExtraKwargs: { kvLeaseMs: options.kvLeaseMs } },
    }).withEnvironment({ warn: (message) => log.warn(message) });
    const running = await run(app, { port: 0, name: "bench" });
    return {
      url: running.url,
      model,
      apiKey: undefined,
      async close() {
        await running.shutdown({ graceMs: 0 });
        await engines.stop();
      },
    };
  } catch (error) {
    await engines.stop();
    throw error;
  }
}
