// A chat back end tested with mock engines in vitest: real sockets, no GPU, no network.
// Run it: npx vitest run --root examples/chat-back-end
import { type Application, buildPdOpenaiApp, LLMConfig, type OpenAiIngress } from "serve-llm";
import { mockAnswer, MockVLLMEngine } from "serve-llm/testing";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { ChatBackEnd } from "./chat-back-end.ts";

const prefill = new MockVLLMEngine({ role: "prefill", model: "llama-8b" });
const decode = new MockVLLMEngine({ role: "decode", model: "llama-8b" });
let app: Application<OpenAiIngress>;

beforeAll(async () => {
  await Promise.all([prefill.start(), decode.start()]);
  const prefillConfig = new LLMConfig({
    modelLoadingConfig: { modelId: "llama-8b" },
    engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
    endpoints: [prefill.url],
  });
  app = buildPdOpenaiApp({ prefillConfig, decodeConfig: prefillConfig.with({ endpoints: [decode.url] }) });
});

afterEach(() => {
  decode.clearFaults();
  // Every KV handle that prefill gave out was used exactly once.
  prefill.ledger.assertBalanced();
});

afterAll(async () => {
  await app.shutdown();
  await Promise.all([prefill.stop(), decode.stop()]);
});

test("the conversation goes on where it was", async () => {
  const backEnd = new ChatBackEnd(app);
  const first = [{ role: "user", content: "Hello!" }];
  // The mock's text is a function of the prompt, so a right answer can be told from a wrong one.
  const reply = await backEnd.say("Hello!");
  expect(reply).toBe(mockAnswer({ messages: first }));

  const second = [...first, { role: "assistant", content: reply }, { role: "user", content: "And then?" }];
  expect(await backEnd.say("And then?")).toBe(mockAnswer({ messages: second }));
  expect(prefill.ledger.consumed).toBe(2);
});

test("a decode engine that breaks off leads to an apology", async () => {
  decode.injectFault({ fault: { kind: "truncated", afterTokens: 3 } });
  expect(await new ChatBackEnd(app).say("Hello?")).toMatch(/^Sorry \(/);
});
