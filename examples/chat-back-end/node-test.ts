// A chat back end tested with mock engines in node:test: real sockets, no GPU, no network.
// Run it: npx tsx --test examples/chat-back-end/node-test.ts
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Application, buildPdOpenaiApp, type LLMConfigInit, type OpenAiIngress } from "serve-llm";
import { mockAnswer, MockVLLMEngine } from "serve-llm/testing";
import { ChatBackEnd } from "./chat-back-end.ts";

const prefill = new MockVLLMEngine({ role: "prefill", model: "llama-8b" });
const decode = new MockVLLMEngine({ role: "decode", model: "llama-8b" });
let app: Application<OpenAiIngress>;

before(async () => {
  await Promise.all([prefill.start(), decode.start()]);
  const config: LLMConfigInit = {
    modelLoadingConfig: { modelId: "llama-8b" },
    engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
  };
  app = buildPdOpenaiApp({
    prefillConfig: { ...config, endpoints: [prefill.url] },
    decodeConfig: { ...config, endpoints: [decode.url] },
  });
});

after(async () => {
  await app.shutdown();
  await Promise.all([prefill.stop(), decode.stop()]);
});

void test("the conversation goes on where it was", async () => {
  const backEnd = new ChatBackEnd(app);
  const first = [{ role: "user", content: "Hello!" }];
  // The mock's text is a function of the prompt, so a right answer can be told from a wrong one.
  const reply = await backEnd.say("Hello!");
  assert.equal(reply, mockAnswer({ messages: first }));

  const second = [...first, { role: "assistant", content: reply }, { role: "user", content: "And then?" }];
  assert.equal(await backEnd.say("And then?"), mockAnswer({ messages: second }));
});

void test("every prompt was computed by prefill, and its KV used exactly once", () => {
  assert.equal(prefill.ledger.issued, 2);
  assert.equal(prefill.ledger.consumed, 2);
  prefill.ledger.assertBalanced();
});

void test("an engine that refuses leads to an apology", async () => {
  decode.injectFault({ fault: { kind: "status", status: 500 } });
  const reply = await new ChatBackEnd(app).say("Hello?");
  decode.clearFaults();
  assert.match(reply, /^Sorry \(/);
});
