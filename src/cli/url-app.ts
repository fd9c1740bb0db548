import { buildPdOpenaiApp } from "../builders/build-pd-openai-app.ts";
import type { LLMConfigInit } from "../config/llm-config-init.ts";
import type { OpenAiIngress } from "../ingress/openai-ingress.ts";
import type { Application } from "../serve/application.ts";

/** What {@link urlApp} is made from. */
export interface UrlAppInit {
  readonly model: string;
  /** Base URLs. */
  readonly prefill: readonly string[];
  readonly decode: readonly string[];
  /** @default "NixlConnector" */
  readonly kvConnector?: string | undefined;
  /** Milliseconds. @default that of the library */
  readonly kvLeaseMs?: number | undefined;
  readonly apiKey?: string | undefined;
}

/** The prefill/decode application of commands that have URLs and no config file. */
export function urlApp(init: UrlAppInit): Application<OpenAiIngress> {
  const { model, kvConnector = "NixlConnector", kvLeaseMs, apiKey } = init;
  const side = (endpoints: readonly string[]): LLMConfigInit => ({
    modelLoadingConfig: { modelId: model },
    engineKwargs: { kv_transfer_config: { kv_connector: kvConnector, kv_role: "kv_both" } },
    endpoints,
    client: { apiKey },
  });
  return buildPdOpenaiApp({
    prefillConfig: side(init.prefill),
    decodeConfig: side(init.decode),
    proxyClsConfig: { proxyExtraKwargs: kvLeaseMs === undefined ? {} : { kvLeaseMs } },
  });
}
