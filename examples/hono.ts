// The application as a part of a Hono server, on Node.
// Middleware that reads the body (a validator, say) uses it up; hand on what Hono kept of it:
// `app.fetch(new Request(context.req.raw, { body: await context.req.text() }))`.
// Run it: npx tsx examples/hono.ts [--once]
import { createAdaptorServer } from "@hono/node-server";
import { Hono } from "hono";
import type { AddressInfo } from "node:net";
import { app, model, stopApp } from "./app.ts";
import { askOnce, once } from "./engines.ts";

const web = new Hono();
web.get("/hello", (context) => context.text("hello"));
web.all("/v1/*", (context) => app.fetch(context.req.raw));
// Under a prefix: `web.mount("/llm", app.fetch)` takes the prefix off.
web.mount("/llm", app.fetch);

const server = createAdaptorServer({ fetch: web.fetch });
await new Promise<void>((resolve) => server.listen(once ? 0 : 8000, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
console.log(`Serving ${model} on ${url} and ${url}/llm`);

async function stop(): Promise<void> {
  await stopApp();
  server.close();
}

if (once) {
  await askOnce(url, model);
  await askOnce(`${url}/llm`, model);
  console.log(`/hello answered: ${await (await fetch(`${url}/hello`)).text()}`);
  await stop();
} else {
  process.once("SIGINT", () => void stop());
}
