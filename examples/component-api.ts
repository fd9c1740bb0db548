// The graph of buildPdOpenaiApp, put together by hand: for a proxy or an ingress of your own.
// Run it: npx tsx examples/component-api.ts [--once]
import {
  buildDpDeployment,
  type DisaggregationContext,
  type DisaggregationDecision,
  LLMConfig,
  makeIngress,
  OpenAiIngress,
  PDProxyServer,
  serve,
} from "serve-llm";
import { askOnce, exampleEngines, once } from "./engines.ts";

/** Requests of some sessions skip prefill. */
class SelectiveProxy extends PDProxyServer {
  protected override decide(context: DisaggregationContext): DisaggregationDecision {
    return context.request.sessionId?.startsWith("short-") === true
      ? { mode: "decode-only", reason: "custom" }
      : super.decide(context);
  }
}

const engines = await exampleEngines("llama-8b");
const prefillConfig = new LLMConfig({
  modelLoadingConfig: { modelId: "llama-8b", modelSource: "meta-llama/Llama-3.1-8B-Instruct" },
  engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
  endpoints: engines.prefill,
});
const decodeConfig = prefillConfig.with({ endpoints: engines.decode });

const prefillServer = buildDpDeployment(prefillConfig, { namePrefix: "Prefill:" });
const decodeServer = buildDpDeployment(decodeConfig, { namePrefix: "Decode:" });

const proxyOptions = SelectiveProxy.getDeploymentOptions(prefillConfig, decodeConfig);
const proxy = serve.deployment(SelectiveProxy).options(proxyOptions).bind({ prefillServer, decodeServer });

const ingressOptions = OpenAiIngress.getDeploymentOptions([decodeConfig]);
const ingress = makeIngress(OpenAiIngress);
const app = serve
  .deployment(ingress)
  .options(ingressOptions)
  .bind({ llmDeployments: [proxy] });

const running = await serve.run(app, { port: once ? 0 : 8000 });
console.log(`Serving llama-8b on ${running.url}`);

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
