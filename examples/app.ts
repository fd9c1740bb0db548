// The application that the framework examples mount. Yours is a module like this one: made once, imported by routes.
import { buildPdOpenaiApp, LLMConfig } from "serve-llm";
import { exampleEngines } from "./engines.ts";

export const model = "llama-8b";
const engines = await exampleEngines(model);

const prefillConfig = new LLMConfig({
  modelLoadingConfig: { modelId: model },
  engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
  endpoints: engines.prefill,
});

export const app = buildPdOpenaiApp({
  prefillConfig,
  decodeConfig: prefillConfig.with({ endpoints: engines.decode }),
});

/** Lets running requests finish, then leaves nothing open. */
export async function stopApp(): Promise<void> {
  await app.shutdown();
  await engines.stop();
}
