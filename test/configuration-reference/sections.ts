import type * as z from "zod";
import { autoscalingSchema, resolveAutoscaling } from "../../src/config/autoscaling-config.ts";
import { backpressureSchema } from "../../src/config/backpressure-config.ts";
import { ingressClsConfigSchema, proxyClsConfigSchema } from "../../src/config/class-config.ts";
import { clientConfigSchema } from "../../src/config/client-config.ts";
import { rayDeploymentDefaults } from "../../src/config/environment.ts";
import { parseConfig } from "../../src/config/parse-config.ts";
import { deploymentOptionsShape, llmConfigSchema } from "../../src/config/llm-config-schema.ts";
import { loraConfigSchema } from "../../src/config/lora-config.ts";
import { modelLoadingConfigSchema } from "../../src/config/model-loading-config.ts";
import { placementGroupSchema } from "../../src/config/placement-group-config.ts";
import { requestRouterSchema } from "../../src/config/request-router-config.ts";
import { resolvePDProxyOptions } from "../../src/llm/pd-proxy-options.ts";
import { defaultRetryBudget } from "../../src/llm/retry-budget.ts";

/** A part of the configuration: the interface that describes it, and the schema that reads it. */
export interface Section {
  readonly title: string;
  /** File below src/ and interface in it. */
  readonly source: readonly [file: string, name: string];
  readonly intro?: string;
  /** Keys that are read, by whatever reads them. Undefined where a constructor takes its arguments as they are. */
  readonly keys?: readonly string[];
  /** Values that are read when nothing is given. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  /** Keys of the interface that this page leaves to another section. */
  readonly except?: readonly string[];
}

/** Keys of a schema of an object. */
function keysOf(schema: unknown): readonly string[] {
  return Object.keys((schema as z.ZodObject).shape);
}

const proxy = resolvePDProxyOptions();

/** Every section of docs/configuration.md, in its order. */
export const sections: readonly Section[] = [
  {
    title: "The two sides",
    source: ["config/pd-serving-args.ts", "PDServingArgsInit"],
    intro: "The argument of `buildPdOpenaiApp`, and `args` in a config file.",
  },
  {
    title: "One model, or several, not split",
    source: ["config/serving-args.ts", "LLMServingArgsInit"],
    intro: "The argument of `buildOpenaiApp`.",
  },
  {
    title: "A model of data-parallel ranks",
    source: ["config/serving-args.ts", "DPOpenAiServingArgsInit"],
    intro: "The argument of `buildDpOpenaiApp`.",
  },
  {
    title: "`LLMConfig`",
    source: ["config/llm-config-init.ts", "LLMConfigInit"],
    intro: "`prefillConfig`, `decodeConfig`, and each of `llmConfigs`.",
    keys: keysOf(llmConfigSchema),
  },
  {
    title: "`modelLoadingConfig`",
    source: ["config/model-loading-config.ts", "ModelLoadingConfig"],
    keys: keysOf(modelLoadingConfigSchema),
  },
  {
    title: "`endpoints`",
    source: ["config/endpoint.ts", "Endpoint"],
    intro: "A URL, or an object with these keys. Sources of endpoints: [discovery](discovery.md).",
  },
  {
    title: "`client`",
    source: ["config/client-config.ts", "ClientConfigInit"],
    intro: "How engines are spoken to. Ours.",
    keys: keysOf(clientConfigSchema),
    defaults: parseConfig(clientConfigSchema, {}, "client") as unknown as Readonly<Record<string, unknown>>,
  },
  { title: "`client.tls`", source: ["config/client-config.ts", "ClientTlsConfig"] },
  { title: "`client.probeGeneration`", source: ["config/client-config.ts", "ProbeGenerationInit"] },
  {
    title: "`deploymentConfig`",
    source: ["config/llm-config-init.ts", "LLMDeploymentOptions"],
    intro:
      "Ray Serve's deployment options. Of an LLM deployment these have other defaults than Ray Serve's own: " +
      `\`maxOngoingRequests\` ${rayDeploymentDefaults.maxOngoingRequests}, ` +
      `\`healthCheckPeriodS\` ${rayDeploymentDefaults.healthCheckPeriodS}, ` +
      `\`healthCheckTimeoutS\` ${rayDeploymentDefaults.healthCheckTimeoutS}. ` +
      "`routePrefix` and `placementGroup...` are taken where Ray takes them, and kept for export.",
    keys: keysOf(deploymentOptionsShape).filter(
      (key) => !/^(placementGroup|routePrefix$|userConfiguredOptionNames$)/.test(key),
    ),
    except: ["userConfiguredOptionNames"],
  },
  {
    title: "`deploymentConfig.autoscalingConfig`",
    source: ["config/autoscaling-config.ts", "AutoscalingOptions"],
    keys: keysOf(autoscalingSchema),
    defaults: resolveAutoscaling({}) as unknown as Readonly<Record<string, unknown>>,
  },
  {
    title: "`deploymentConfig.requestRouterConfig`",
    source: ["config/request-router-config.ts", "RequestRouterOptions"],
    keys: keysOf(requestRouterSchema),
  },
  {
    title: "`deploymentConfig.backpressureConfig`",
    source: ["config/backpressure-config.ts", "BackpressureOptions"],
    keys: keysOf(backpressureSchema),
  },
  {
    title: "`loraConfig`",
    source: ["config/llm-config-init.ts", "LoraConfigInit"],
    keys: keysOf(loraConfigSchema),
  },
  {
    title: "`experimentalConfigs`",
    source: ["config/llm-config-init.ts", "ExperimentalConfigsInit"],
  },
  {
    title: "`placementGroupConfig`",
    source: ["config/placement-group-config.ts", "PlacementGroupConfig"],
    intro: "Validated as in Ray, and kept for export.",
    keys: keysOf(placementGroupSchema),
  },
  {
    title: "`callbackConfig`",
    source: ["config/llm-config-init.ts", "CallbackConfigInit"],
    intro: "Kept for export.",
  },
  {
    title: "`proxyClsConfig`",
    source: ["config/class-config.ts", "ProxyClsConfig"],
    keys: keysOf(proxyClsConfigSchema),
  },
  {
    title: "`proxyClsConfig.proxyExtraKwargs`",
    source: ["llm/pd-proxy-options.ts", "PDProxyOptions"],
    intro: "Options of `PDProxyServer`.",
    keys: Object.keys(proxy),
    defaults: proxy as unknown as Readonly<Record<string, unknown>>,
  },
  {
    title: "`proxyExtraKwargs.decide`, as a rule",
    source: ["llm/disaggregation-policy.ts", "ConditionalDisaggregation"],
  },
  {
    title: "`proxyExtraKwargs.retryBudget`",
    source: ["llm/retry-budget.ts", "RetryBudgetOptions"],
    keys: Object.keys(defaultRetryBudget),
    defaults: defaultRetryBudget as unknown as Readonly<Record<string, unknown>>,
  },
  {
    title: "`ingressClsConfig`",
    source: ["config/class-config.ts", "IngressClsConfig"],
    keys: keysOf(ingressClsConfigSchema),
  },
  {
    title: "`ingressClsConfig.ingressExtraKwargs`",
    source: ["ingress/ingress-options.ts", "OpenAiIngressArguments"],
    intro: "Options of `OpenAiIngress`.",
    except: ["llmDeployments"],
  },
  { title: "`ingressExtraKwargs.limits`", source: ["ingress/generation-request.ts", "RequestLimits"] },
  { title: "`ingressExtraKwargs.admin`", source: ["ingress/admin-calls.ts", "AdminOptions"] },
  { title: "`ingressExtraKwargs.cors`", source: ["ingress/cors-policy.ts", "CorsOptions"] },
];
