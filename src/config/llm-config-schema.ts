import type * as z from "zod";

import { ConfigurationError } from "../errors/configuration-error.ts";
import { type AcceleratorConfig, readAcceleratorType } from "./accelerators.ts";
import { callbackConfigSchema } from "./callback-config.ts";
import { camelCased } from "./casing.ts";
import { type ClassReference, type ClassValue, readClassPath } from "./class-reference.ts";
import { clientConfigSchema } from "./client-config.ts";
import { deploymentConfigSchema, parseDeploymentConfig } from "./deployment-config.ts";
import { describeValue } from "./describe-value.ts";
import { endpointsSchema } from "./endpoint.ts";
import { experimentalConfigsSchema } from "./experimental-configs.ts";
import {
  anything,
  boolean,
  isPlainObject,
  listOf,
  objectOf,
  opaqueMap,
  openObjectOf,
  optional,
  reading,
  type SchemaProblem,
  withDefault,
} from "./lax-schema.ts";
import type { LLMDeploymentOptions } from "./llm-config-init.ts";
import type { OptionTree } from "./merge-options.ts";
import { loraConfigSchema } from "./lora-config.ts";
import { modelLoadingConfigSchema } from "./model-loading-config.ts";
import { nested, parseConfig, parseConfigDetailed } from "./parse-config.ts";
import { type PlacementGroupConfig, placementGroupSchema } from "./placement-group-config.ts";
import { type RuntimeEnv, runtimeEnvSchema } from "./runtime-env.ts";
import { scalingTargetSchema } from "./scaling-target.ts";

/** The shape of `deployment_config`, only for its spelling: values are kept as given, as Ray keeps them. */
export const deploymentOptionsShape = openObjectOf("DeploymentConfig", {
  ...deploymentConfigSchema.shape,
  placementGroupBundles: optional(listOf(opaqueMap())),
  rayActorOptions: optional(
    openObjectOf("RayActorOptions", {
      numCpus: anything(),
      numGpus: anything(),
      memory: anything(),
      resources: anything(),
      acceleratorType: anything(),
      runtimeEnv: optional(runtimeEnvSchema as unknown as z.ZodType<RuntimeEnv>),
      labelSelector: anything(),
      fallbackStrategy: anything(),
    }),
  ),
});

/**
 * Deployment options in either spelling as they are given, keys in camelCase: they are merged with others before they
 * are checked.
 *
 * @throws {ConfigurationError} for a key that is given in both spellings, or could reach a prototype
 */
export function readDeploymentOptions(input: Readonly<Record<string, unknown>>): OptionTree {
  const { value, issues } = camelCased(deploymentOptionsShape, input);
  if (issues.length > 0) throw new ConfigurationError("deployment options", issues);
  return value as OptionTree;
}

/** A part of a configuration that Ray checks by building its class, and names when that fails. */
function part<T>(prefix: string, parse: (input: Readonly<Record<string, unknown>>) => T): z.ZodType<T> {
  return reading((input) => {
    if (!isPlainObject(input)) return { type: "dict_type", message: "Input should be a valid dictionary" };
    return nested(() => parse(input), prefix);
  });
}

const llmEngine = reading<"vLLM">((input) => {
  if (typeof input !== "string") return { type: "string_type", message: "Input should be a valid string" };
  if (input === "vLLM") return { value: input };
  return { type: "value_error", message: `Unsupported engine: ${input}`, expected: '"vLLM"' };
});

const acceleratorType = reading<string>((input) =>
  typeof input === "string"
    ? readAcceleratorType(input)
    : { type: "string_type", message: "Input should be a valid string" },
);

const acceleratorKinds = "'cpu', 'gpu', 'tpu'";

const acceleratorConfig = reading<AcceleratorConfig>((input) => {
  if (!isPlainObject(input)) {
    return {
      type: "model_attributes_type",
      message: "Input should be a valid dictionary or object to extract fields from",
    };
  }
  const { kind, topology, ...others } = input;
  if (!("kind" in input)) {
    return { type: "union_tag_not_found", message: "Unable to extract tag using discriminator 'kind'" };
  }
  if (kind !== "cpu" && kind !== "gpu" && kind !== "tpu") {
    const tag = typeof kind === "string" ? kind : kind === null ? "None" : describeValue(kind, []);
    return {
      type: "union_tag_invalid",
      message: `Input tag '${tag}' found using 'kind' does not match any of the expected tags: ${acceleratorKinds}`,
    };
  }
  const unknown = Object.keys(kind === "tpu" || topology === undefined ? others : { topology, ...others });
  if (unknown.length > 0) {
    return unknown.map((key) => ({
      type: "extra_forbidden",
      message: `Extra inputs are not permitted for kind "${kind}"`,
      path: [key],
    }));
  }
  if (kind !== "tpu") return { value: { kind } };
  if (topology === undefined || topology === null) return { value: { kind } };
  if (typeof topology === "string") return { value: { kind, topology } };
  return { type: "string_type", message: "Input should be a valid string", path: ["topology"] };
});

/** What a placement group was read as, and how it was given. */
export interface PlacementGroupPart {
  readonly parsed: PlacementGroupConfig;
  /** As given, keys in camelCase. */
  readonly given: unknown;
}

const placementGroup = part("", (input): PlacementGroupPart => {
  const { value, given } = parseConfigDetailed(placementGroupSchema, input, "placement_group_config");
  return { parsed: value, given };
});

const deployment = part("Invalid deployment config: ", (input): LLMDeploymentOptions => {
  parseDeploymentConfig(input);
  return readDeploymentOptions(input);
});

const serverClass = reading<ClassReference>((input): { readonly value: ClassReference } | SchemaProblem => {
  if (typeof input === "function") return { value: input as ClassValue };
  if (typeof input === "string") return readClassPath(input);
  return { type: "string_type", message: "Input should be a class, or the import path of one" };
});

/** Schema of an `LLMConfig`: Ray's fields, then ours. Parts are read with parsers of their own. */
export const llmConfigSchema = objectOf("LLMConfig", {
  runtimeEnv: optional(runtimeEnvSchema as unknown as z.ZodType<RuntimeEnv>),
  modelLoadingConfig: part("Invalid model_loading_config: ", (input) =>
    parseConfig(modelLoadingConfigSchema, input, "model_loading_config"),
  ),
  llmEngine: withDefault(llmEngine, "vLLM"),
  engineKwargs: withDefault(opaqueMap(), {}),
  acceleratorType: optional(acceleratorType),
  acceleratorConfig: optional(acceleratorConfig),
  placementGroupConfig: optional(placementGroup),
  loraConfig: optional(
    part("Invalid lora_config: ", (input) => parseConfig(loraConfigSchema, input, "lora_config")),
  ),
  deploymentConfig: withDefault(deployment, {}),
  serverCls: optional(serverClass),
  experimentalConfigs: withDefault(experimentalConfigsSchema(), {}),
  // Absent is true, null is "not said".
  logEngineMetrics: withDefault(boolean().nullable(), true),
  callbackConfig: callbackConfigSchema.default({ callbackKwargs: {}, raiseErrorOnCallback: true }),
  endpoints: optional(endpointsSchema()),
  scalingTarget: optional(scalingTargetSchema()),
  client: optional(clientConfigSchema),
});
