// A server function of the Web's kind: everything that takes a Request and returns a Response can have it.
// Run it: npx tsx examples/fetch.ts
import { app, model, stopApp } from "./app.ts";

/** Your own routes, then the application. Bun.serve({ fetch: handle }), Deno.serve(handle), a test ... */
async function handle(request: Request): Promise<Response> {
  if (new URL(request.url).pathname === "/hello") return new Response("hello");
  return app.fetch(request);
}

const ask = (stream: boolean): Request =>
  new Request("http://localhost/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, messages: [{ role: "user", content: "Say something." }], stream }),
  });

const answer = (await (await handle(ask(false))).json()) as { choices: { message: { content: string } }[] };
console.log("whole:  ", answer.choices[0]?.message.content);

const events = await (await handle(ask(true))).text();
console.log(
  "streamed:",
  events.split("\n\n").length - 1,
  "events, the last of them",
  events.trim().split("\n").at(-1),
);

console.log("/hello: ", await (await handle(new Request("http://localhost/hello"))).text());

await stopApp();
