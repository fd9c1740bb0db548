// A prefill/decode proxy of your own: what is changed in a request, what is refused, and which are disaggregated.
// Run it: npx tsx examples/custom-proxy.ts [--once]
import {
  buildPdOpenaiApp,
  type DisaggregationContext,
  type DisaggregationDecision,
  editRequest,
  LLMConfig,
  type LLMRequest,
  PDProxyServer,
  RequestError,
  serve,
} from "serve-llm";
import { exampleEngines, once } from "./engines.ts";

class HouseRules extends PDProxyServer {
  /** First of all. The rest of the client's bytes stay as they came. */
  protected override prepare(request: LLMRequest): LLMRequest {
    if (Number(request.body.value("max_tokens") ?? 0) > 4096)
      throw new RequestError("At most 4096 tokens here.", { param: "max_tokens", code: "limit_exceeded" });
    return editRequest(request, { set: { temperature: 0 }, remove: ["logit_bias"] });
  }

  /** Then, unless the request can't be disaggregated anyway. */
  protected override decide(context: DisaggregationContext): DisaggregationDecision {
    return context.request.sessionId?.startsWith("short-") === true
      ? { mode: "decode-only", reason: "custom" }
      : super.decide(context);
  }
}

const engines = await exampleEngines("llama-8b");
const prefillConfig = new LLMConfig({
  modelLoadingConfig: { modelId: "llama-8b" },
  engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
  endpoints: engines.prefill,
});
const app = buildPdOpenaiApp({
  prefillConfig,
  decodeConfig: prefillConfig.with({ endpoints: engines.decode }),
  proxyClsConfig: { proxyCls: HouseRules },
  ingressClsConfig: { ingressExtraKwargs: { routeHeader: true } },
});
const running = await serve.run(app, { port: once ? 0 : 8000 });
console.log(`Serving llama-8b on ${running.url}`);

async function stop(): Promise<void> {
  await running.shutdown();
  await engines.stop();
}

if (once) {
  const ask = (fields: object, session = ""): Promise<Response> =>
    fetch(`${running.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-session-id": session },
      body: JSON.stringify({ messages: [{ role: "user", content: "Say something." }], ...fields }),
    });
  for (const session of ["long-1", "short-1"]) {
    const response = await ask({ temperature: 1 }, session);
    await response.text();
    const route = response.headers.get("x-serve-llm-route")?.split("; ") ?? [];
    const how = route.filter((part) => /^(mode|reason)=/.test(part)).join("; ");
    console.log(`${session}: ${how}`);
  }
  const refused = await ask({ max_tokens: 5000 });
  const { error } = (await refused.json()) as { error: { code: string } };
  console.log(`budget: ${refused.status} ${error.code}`);
  await stop();
} else {
  process.once("SIGINT", () => void stop());
}
