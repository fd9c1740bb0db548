// Prefill with 2 data-parallel ranks, decode with 4: each side behind one URL.
// Run it: npx tsx examples/dp-pd.ts [--once]
import { buildPdOpenaiApp, type LLMConfigInit, serve } from "serve-llm";
import { askOnce, exampleEngines, once } from "./engines.ts";

const ranks = { prefill: 2, decode: 4 };
const engines = await exampleEngines("llama-8b", ranks);

const side = (size: number, endpoints: readonly string[]): LLMConfigInit => ({
  modelLoadingConfig: { modelId: "llama-8b", modelSource: "meta-llama/Llama-3.1-8B-Instruct" },
  engineKwargs: {
    data_parallel_size: size,
    tensor_parallel_size: 1,
    kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" },
  },
  // All ranks of a side are on one node, behind one URL; X-data-parallel-rank tells them apart.
  experimentalConfigs: { dp_size_per_node: size },
  endpoints,
});

const app = buildPdOpenaiApp({
  prefillConfig: side(ranks.prefill, engines.prefill),
  decodeConfig: side(ranks.decode, engines.decode),
});
const running = await serve.run(app, { port: once ? 0 : 8000 });
console.log(`Serving llama-8b on ${running.url}`);
for (const [name, { replicas }] of Object.entries(app.status().deployments)) {
  if (replicas.length > 0) console.log(`${name} has ranks ${replicas.map(({ rank }) => rank).join(", ")}`);
}

async function stop(): Promise<void> {
  await running.shutdown();
  await engines.stop();
}

if (once) {
  await askOnce(running.url, "llama-8b");
  await stop();
} else {
  process.once("SIGINT", () => void stop());
}
