// The application under Koa, for the paths it serves.
// Run it: npx tsx examples/koa.ts [--once]
import type { AddressInfo } from "node:net";
import Koa from "koa";
import { app, model, stopApp } from "./app.ts";
import { askOnce, once } from "./engines.ts";

const web = new Koa();
web.use((context, next) => {
  if (!context.path.startsWith("/v1/")) return next();
  // Koa must not answer too. After a body parser, hand on what it read: `context.req.body = context.request.body`.
  context.respond = false;
  app.handler(context.req, context.res);
  return undefined;
});
web.use((context) => {
  context.body = "hello";
});

const server = web.listen(once ? 0 : 8000, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
console.log(`Serving ${model} on ${url}`);

async function stop(): Promise<void> {
  await stopApp();
  server.close();
  server.closeAllConnections();
}

if (once) {
  await askOnce(url, model);
  console.log(`/hello answered: ${await (await fetch(`${url}/hello`)).text()}`);
  await stop();
} else {
  process.once("SIGINT", () => void stop());
}
