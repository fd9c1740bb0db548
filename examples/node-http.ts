// The application on a node:http server of your own, beside your own routes.
// Run it: npx tsx examples/node-http.ts [--once]
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { buildPdOpenaiApp, type LLMConfigInit } from "serve-llm";
import { askOnce, exampleEngines, once } from "./engines.ts";

const model = "llama-8b";
const engines = await exampleEngines(model);

const config: LLMConfigInit = {
  modelLoadingConfig: { modelId: model },
  engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
};
const app = buildPdOpenaiApp({
  prefillConfig: { ...config, endpoints: engines.prefill },
  decodeConfig: { ...config, endpoints: engines.decode },
});

const server = createServer((request, response) => {
  if (request.url === "/status") {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(app.status()));
    return;
  }
  app.handler(request, response);
});
await new Promise<void>((resolve) => server.listen(once ? 0 : 8000, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
console.log(`Serving ${model} on ${url}`);

async function stop(): Promise<void> {
  // First the application, so that running requests may finish; then the server.
  await app.shutdown();
  server.close();
  server.closeAllConnections();
  await engines.stop();
}

if (once) {
  await askOnce(url, model);
  await stop();
} else {
  process.once("SIGINT", () => void stop());
}
