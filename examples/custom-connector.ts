// A KV connector that this library does not know: how its two requests look. Here a store that both sides share, and
// in which prefill's entry is found under the id of the request.
// Run it: npx tsx examples/custom-connector.ts
import { buildPdOpenaiApp, type KvConnector, LLMConfig, RawJson, registerKvConnector } from "serve-llm";
import { MockKvStore, MockVLLMEngine } from "serve-llm/testing";

registerKvConnector("AcmeStoreConnector", (): KvConnector => ({
  name: "AcmeStoreConnector",
  // Either request can be built without knowing the other side's engine ...
  requiresPeerBinding: false,
  // ... but decode must wait until prefill has written ...
  concurrentHandoff: false,
  // ... and needs nothing from its answer.
  requiresHandle: false,
  preparePrefillRequest: ({ requestId }) => ({
    // One token, not streamed: prefill is there for the KV. What is not named goes out byte for byte as it came.
    set: { max_tokens: 1, stream: false, kv_transfer_params: { acme_key: requestId } },
    remove: ["max_completion_tokens", "min_tokens", "stream_options"],
  }),
  prepareDecodeRequest: ({ requestId }) => ({
    set: { kv_transfer_params: RawJson.fromText(JSON.stringify({ acme_key: requestId })) },
  }),
}));

const model = "llama-8b";
// To the mock engines it is a shared store like vLLM's OffloadingConnector.
const engine = { model, kvConnector: "OffloadingConnector", kvStore: new MockKvStore() } as const;
const prefill = new MockVLLMEngine({ ...engine, role: "prefill" });
const decode = new MockVLLMEngine({ ...engine, role: "decode", promptTokensDetails: true });
await Promise.all([prefill.start(), decode.start()]);

const prefillConfig = new LLMConfig({
  modelLoadingConfig: { modelId: model },
  engineKwargs: { kv_transfer_config: { kv_connector: "AcmeStoreConnector", kv_role: "kv_both" } },
  endpoints: [prefill.url],
});
const app = buildPdOpenaiApp({
  prefillConfig,
  decodeConfig: prefillConfig.with({ endpoints: [decode.url] }),
});

const content = "A prompt of more than one block, so that there is something to carry over. ".repeat(4);
await app.handle.chat({ model, messages: [{ role: "user", content }] });

const keyOf = ({ requests }: MockVLLMEngine): unknown => {
  const sent = requests.find(({ path }) => path === "/v1/chat/completions");
  return (sent?.body as { kv_transfer_params?: { acme_key?: unknown } } | undefined)?.kv_transfer_params
    ?.acme_key;
};
console.log(
  "both sides were told the same key:",
  keyOf(prefill) === keyOf(decode) && keyOf(prefill) !== undefined,
);

await app.shutdown();
await Promise.all([prefill.stop(), decode.stop()]);
