// Two processes that route over one fleet of engines, without a word between them.
// Run it: npx tsx examples/several-routers/main.ts [--once]
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { MockVLLMEngine } from "serve-llm/testing";

const model = "llama-8b";
const prefills = Array.from({ length: 4 }, () => new MockVLLMEngine({ role: "prefill", model }));
const decodes = Array.from({ length: 4 }, () => new MockVLLMEngine({ role: "decode", model }));
const engines = [...prefills, ...decodes];
await Promise.all(engines.map((engine) => engine.start()));

// In production these are pods of one Deployment, and a Service in front of them.
const environment = {
  ...process.env,
  PREFILL: prefills.map(({ url }) => url).join(),
  DECODE: decodes.map(({ url }) => url).join(),
};
const routers = ["one", "two"].map(() =>
  fork(new URL("router.ts", import.meta.url), { env: environment, execArgv: process.execArgv }),
);
const urls = await Promise.all(routers.map(urlOf));
console.log(`Two routers: ${urls.join(", ")}`);

// Conversations of several turns; each turn goes to the router whose turn it is.
const sessions = Array.from({ length: 12 }, (_, index) => `conversation-${index}`);
const routes = new Map(sessions.map((session) => [session, new Set<string>()]));
for (let turn = 0; turn < 4; turn += 1) {
  for (const session of sessions) {
    const response = await fetch(`${urls[turn % urls.length]}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-session-id": session },
      body: JSON.stringify({ model, messages: [{ role: "user", content: `Turn ${turn} of ${session}` }] }),
    });
    await response.text();
    const route = response.headers.get("x-serve-llm-route") ?? "";
    routes.get(session)?.add(/prefill=([^;]+)/.exec(route)?.[1] ?? "none");
  }
}
const kept = [...routes.values()].filter((seen) => seen.size === 1 && !seen.has("none")).length;
const used = new Set([...routes.values()].flatMap((seen) => [...seen]));
console.log(`${kept} of ${sessions.length} conversations stayed on one prefill engine over both routers`);
console.log(`${used.size} of ${prefills.length} prefill engines were used`);

if (process.argv.includes("--once")) {
  for (const router of routers) router.kill();
  await Promise.all(routers.map((router) => once(router, "exit")));
  await Promise.all(engines.map((engine) => engine.stop()));
}

async function urlOf(router: ChildProcess): Promise<string> {
  const [message] = (await once(router, "message")) as [{ readonly url: string }];
  return message.url;
}
