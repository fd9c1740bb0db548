// One of several routers; main.ts starts it. Nothing in it knows of the others.
import { buildPdOpenaiApp, LLMConfig, serve } from "serve-llm";

const { PREFILL = "", DECODE = "", PORT = "0" } = process.env;
const named = (urls: string, name: string) =>
  urls.split(",").map((url, index) => ({ url, name: `${name}-${index}` }));
const prefillConfig = new LLMConfig({
  modelLoadingConfig: { modelId: "llama-8b" },
  engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
  endpoints: named(PREFILL, "prefill"),
});
const app = buildPdOpenaiApp({
  prefillConfig,
  decodeConfig: prefillConfig.with({ endpoints: named(DECODE, "decode") }),
  ingressClsConfig: { ingressExtraKwargs: { routeHeader: true } },
});
const running = await serve.run(app, { port: Number(PORT) });
process.send?.({ url: running.url });
process.once("SIGTERM", () => void running.shutdown().then(() => process.exit()));
