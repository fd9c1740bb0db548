// The application as Express middleware: on its own, after express.json() has read the body, after compression.
// Run it: npx tsx examples/express.ts [--once]
import type { AddressInfo } from "node:net";
import express from "express";
import { buildPdOpenaiApp, type LLMConfigInit } from "serve-llm";
import { askOnce, exampleEngines, once } from "./engines.ts";
import { gzip } from "./gzip.ts";

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

const web = express();
// Paths the application does not serve go on to the next handler.
web.use(app.handler);
web.get("/hello", (_request, response) => void response.send("hello"));
// The body may be read already. The limit must allow for long prompts: Express stops at 100 kB by default.
web.use("/llm", express.json({ limit: "32mb" }), app.handler);
// Whole answers may be compressed. Streams say `cache-control: no-transform`, so `compression()` leaves them alone.
web.use("/compressed", gzip, app.handler);

const server = web.listen(once ? 0 : 8000, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
console.log(`Serving ${model} on ${url} and ${url}/llm`);

async function stop(): Promise<void> {
  await app.shutdown();
  server.close();
  server.closeAllConnections();
  await engines.stop();
}

if (once) {
  await askOnce(url, model);
  await askOnce(`${url}/llm`, model);
  await askOnce(`${url}/compressed`, model);
  console.log(`${url}/hello answered: ${await (await fetch(`${url}/hello`)).text()}`);
  await stop();
} else {
  process.once("SIGINT", () => void stop());
}
