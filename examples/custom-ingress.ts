// An ingress of your own: who may come in, a route of its own, a hook on every chat, admin routes behind a guard.
// Run it: npx tsx examples/custom-ingress.ts [--once]
import {
  buildPdOpenaiApp,
  type HttpResponse,
  type IngressRequest,
  LLMConfig,
  makeIngress,
  OpenAiIngress,
  RequestError,
  serve,
} from "serve-llm";
import { askOnce, exampleEngines, once } from "./engines.ts";

const keys = new Map([
  ["key-of-acme", "acme"],
  ["key-of-ops", "ops"],
]);

const tenantOf = (request: IngressRequest): string | undefined =>
  keys.get((request.header("authorization") ?? "").replace(/^Bearer /i, ""));

class TenantIngress extends OpenAiIngress {
  readonly #usage: Record<string, { requests: number }> = {};

  /** Before the body of any request is read. What it throws is the answer. */
  protected override admit(request: IngressRequest): void {
    if (tenantOf(request) === undefined)
      throw new RequestError("Incorrect API key provided.", { status: 401, code: "invalid_api_key" });
  }

  /** A hook: does its own part, then what the ingress does. */
  override chat(request: IngressRequest): Promise<HttpResponse> {
    (this.#usage[tenantOf(request)!] ??= { requests: 0 }).requests += 1;
    return super.chat(request);
  }

  /** A route of its own: `routes` below says where. */
  usage(_request: IngressRequest): HttpResponse {
    const body = Buffer.from(JSON.stringify(this.#usage));
    return { status: 200, headers: [["content-type", "application/json"]], body };
  }
}

const ingressCls = makeIngress(TenantIngress, { routes: { usage: { method: "GET", path: "/v1/usage" } } });
const engines = await exampleEngines("llama-8b");
const prefillConfig = new LLMConfig({
  modelLoadingConfig: { modelId: "llama-8b" },
  engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
  endpoints: engines.prefill,
});
const app = buildPdOpenaiApp({
  prefillConfig,
  decodeConfig: prefillConfig.with({ endpoints: engines.decode }),
  ingressClsConfig: {
    ingressCls,
    ingressExtraKwargs: { admin: { guard: (request: IngressRequest) => tenantOf(request) === "ops" } },
  },
});
const running = await serve.run(app, { port: once ? 0 : 8000 });
console.log(`Serving llama-8b on ${running.url}`);

async function stop(): Promise<void> {
  await running.shutdown();
  await engines.stop();
}

if (once) {
  const ask = (path: string, key: string, method = "GET"): Promise<Response> =>
    fetch(`${running.url}${path}`, { method, headers: { authorization: `Bearer ${key}` } });
  await askOnce(running.url, "llama-8b", { authorization: "Bearer key-of-acme" });
  const refused = await ask("/v1/models", "nobody's");
  const { error } = (await refused.json()) as { error: { code: string } };
  console.log(`nobody's key: ${refused.status} ${error.code}`);
  console.log(`GET /v1/usage: ${await (await ask("/v1/usage", "key-of-ops")).text()}`);
  const [ops, acme] = [await ask("/sleep", "key-of-ops", "POST"), await ask("/sleep", "key-of-acme", "POST")];
  console.log(`POST /sleep: ${JSON.stringify({ ops: ops.status, acme: acme.status })}`);
  await stop();
} else {
  process.once("SIGINT", () => void stop());
}
