// The application under Fastify: in a scope of its own, where bodies are left to the application.
// Run it: npx tsx examples/fastify.ts [--once]
import fastify from "fastify";
import { app, model, stopApp } from "./app.ts";
import { askOnce, once } from "./engines.ts";

const web = fastify();
web.get("/hello", () => "hello");
await web.register((scope, _options, done) => {
  // The application reads bodies itself, byte for byte and with a limit of its own. If Fastify must parse them, hand on
  // what it read: `app.handler(Object.assign(request.raw, { body: request.body }), reply.raw)`, and raise `bodyLimit`.
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser("*", (_request, _payload, parsed) => parsed(null));
  scope.all("/v1/*", (request, reply) => {
    reply.hijack();
    app.handler(request.raw, reply.raw);
  });
  done();
});
web.addHook("onClose", stopApp);

const url = await web.listen({ port: once ? 0 : 8000, host: "127.0.0.1" });
console.log(`Serving ${model} on ${url}`);

if (once) {
  await askOnce(url, model);
  console.log(`/hello answered: ${await (await fetch(`${url}/hello`)).text()}`);
  await web.close();
} else {
  process.once("SIGINT", () => void web.close());
}
