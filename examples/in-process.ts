// No HTTP in front: the application's handle, whole answers and streams.
// Run it: npx tsx examples/in-process.ts
import { buildPdOpenaiApp, type LLMConfigInit } from "serve-llm";
import { exampleEngines } from "./engines.ts";

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

const messages = [{ role: "user", content: "Say something." }];
const answer = await app.handle.chat({ model, messages });
console.log("whole:  ", answer.choices[0]?.message.content);

let text = "";
for await (const chunk of app.handle.chat({ model, messages, stream: true })) {
  text += chunk.choices[0]?.delta.content ?? "";
}
console.log("streamed:", text);

// Leaving the loop, or aborting the signal, stops both engines at once.
for await (const chunk of app.handle.chat({ model, messages, stream: true })) {
  console.log("first chunk only:", JSON.stringify(chunk.choices[0]?.delta));
  break;
}

await app.shutdown();
await engines.stop();
