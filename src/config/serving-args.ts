import { ConfigurationError } from "../errors/configuration-error.ts";
import {
  deploymentOverrides,
  deploymentOverridesToPython,
  type IngressClsConfig,
  ingressClsConfigSchema,
  ingressClsToPython,
  optionalDeploymentOverrides,
} from "./class-config.ts";
import { llmConfigSource, type LLMConfigSource, type ServingArgsOptions } from "./config-source.ts";
import { listOf, objectOf, withDefault } from "./lax-schema.ts";
import type { LLMConfig } from "./llm-config.ts";
import type { LLMDeploymentOptions } from "./llm-config-init.ts";
import { parseConfigDetailed } from "./parse-config.ts";
import type { RayCase } from "./ray-case.ts";
import { builderArgumentsForRay, type RayJson } from "./ray-export.ts";

/** Arguments of `buildOpenaiApp` as a user gives them. Ray's `LLMServingArgs`. */
export interface LLMServingArgsInit {
  /** One for each model; at least one, model ids unique. */
  readonly llmConfigs: readonly LLMConfigSource[];
  /** @default `OpenAiIngress`, no further arguments */
  readonly ingressClsConfig?: IngressClsConfig | undefined;
  /** Deployment options of the ingress. @default {} */
  readonly ingressDeploymentConfig?: LLMDeploymentOptions | undefined;
}

/** Checked arguments of `buildOpenaiApp`. */
export interface LLMServingArgs {
  readonly llmConfigs: readonly LLMConfig[];
  readonly ingressClsConfig: IngressClsConfig;
  readonly ingressDeploymentConfig: LLMDeploymentOptions;
  /** The arguments as they were given, for Ray. @throws {ConfigurationError} when Ray could not have them */
  readonly toRay: () => RayJson;
}

/** Arguments of `buildDpOpenaiApp` as a user gives them. Ray's `DPOpenAiServingArgs`. */
export interface DPOpenAiServingArgsInit {
  /** The model; its `engineKwargs.data_parallel_size` says how many ranks it has. */
  readonly llmConfig: LLMConfigSource;
  /** @default `OpenAiIngress`, no further arguments */
  readonly ingressClsConfig?: IngressClsConfig | undefined;
  /** Deployment options of the ingress. @default {} */
  readonly ingressDeploymentConfig?: LLMDeploymentOptions | null | undefined;
}

/** Checked arguments of `buildDpOpenaiApp`. */
export interface DPOpenAiServingArgs {
  readonly llmConfig: LLMConfig;
  readonly ingressClsConfig: IngressClsConfig;
  readonly ingressDeploymentConfig: LLMDeploymentOptions | undefined;
  /** The arguments as they were given, for Ray. @throws {ConfigurationError} when Ray could not have them */
  readonly toRay: () => RayJson;
}

const noIngressArguments: IngressClsConfig = { ingressExtraKwargs: {} };

/** Reads the arguments of an application over several models, in either spelling. @throws {ConfigurationError} */
export function parseLLMServingArgs(
  input: LLMServingArgsInit | RayCase<LLMServingArgsInit>,
  options: ServingArgsOptions = {},
): LLMServingArgs {
  const schema = objectOf("LLMServingArgs", {
    llmConfigs: listOf(llmConfigSource(options)),
    ingressClsConfig: withDefault(ingressClsConfigSchema, noIngressArguments),
    ingressDeploymentConfig: withDefault(deploymentOverrides(), {}),
  });
  const { value, given, userPath } = parseConfigDetailed(schema, input, "LLMServingArgs");
  const refuse = (message: string): never => {
    throw new ConfigurationError("LLMServingArgs", [
      { path: userPath(["llmConfigs"]), type: "value_error", message },
    ]);
  };
  const modelIds = value.llmConfigs.map((config) => config.modelId);
  if (modelIds.length === 0) {
    refuse("List of models is empty. Maybe some parameters cannot be parsed into the LLMConfig config.");
  }
  if (new Set(modelIds).size < modelIds.length) {
    refuse("Duplicate models found. Make sure model ids are unique.");
  }
  return {
    ...value,
    toRay: () =>
      builderArgumentsForRay("LLMServingArgs", given as RayJson, {
        llmConfigs: value.llmConfigs.map((config) => config.toServeArgs()),
      }),
  };
}

/** Reads the arguments of an application over one data-parallel model, in either spelling. @throws {ConfigurationError} */
export function parseDPOpenAiServingArgs(
  input: DPOpenAiServingArgsInit | RayCase<DPOpenAiServingArgsInit>,
  options: ServingArgsOptions = {},
): DPOpenAiServingArgs {
  const schema = objectOf("DPOpenAiServingArgs", {
    llmConfig: llmConfigSource(options),
    ingressClsConfig: withDefault(ingressClsConfigSchema, noIngressArguments),
    ingressDeploymentConfig: optionalDeploymentOverrides(),
  });
  const { value, given, explicitlySet } = parseConfigDetailed(schema, input, "DPOpenAiServingArgs");
  const ingressDeploymentConfig = explicitlySet.has("ingressDeploymentConfig")
    ? value.ingressDeploymentConfig
    : {};
  return {
    ...value,
    ingressDeploymentConfig,
    toRay: () =>
      builderArgumentsForRay("DPOpenAiServingArgs", given as RayJson, {
        llmConfig: value.llmConfig.toServeArgs(),
      }),
  };
}

/** Ray's `model_dump()` of either kind of arguments. */
export function servingArgsToPython(
  args: LLMServingArgs | DPOpenAiServingArgs,
): Readonly<Record<string, unknown>> {
  const models =
    "llmConfigs" in args
      ? { llm_configs: args.llmConfigs.map((config) => config.toPython()) }
      : { llm_config: args.llmConfig.toPython() };
  return {
    ...models,
    ingress_cls_config: ingressClsToPython(args.ingressClsConfig),
    ingress_deployment_config: deploymentOverridesToPython(args.ingressDeploymentConfig),
  };
}
