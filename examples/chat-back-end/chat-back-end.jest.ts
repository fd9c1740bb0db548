// The same in jest, which loads the package's CommonJS build.
// Run it: npm run build && npx jest --config examples/chat-back-end/jest.config.cjs
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Application, buildPdOpenaiApp, LLMConfig, type OpenAiIngress } from "serve-llm";
import { mockAnswer, MockVLLMEngine } from "serve-llm/testing";
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

afterAll(async () => {
  await app.shutdown();
  await Promise.all([prefill.stop(), decode.stop()]);
});

test("answers come from the model", async () => {
  expect(await new ChatBackEnd(app).say("Hello!")).toBe(
    mockAnswer({ messages: [{ role: "user", content: "Hello!" }] }),
  );
  prefill.ledger.assertBalanced();
});

test("a decode engine that refuses leads to an apology", async () => {
  decode.injectFault({ fault: { kind: "status", status: 500 } });
  expect(await new ChatBackEnd(app).say("Hello?")).toMatch(/^Sorry \(/);
  decode.clearFaults();
});
