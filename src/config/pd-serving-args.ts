import { isDeepStrictEqual } from "node:util";

import { ConfigurationError } from "../errors/configuration-error.ts";
import {
  deploymentOverridesToPython,
  type IngressClsConfig,
  ingressClsConfigSchema,
  ingressClsToPython,
  optionalDeploymentOverrides,
  type ProxyClsConfig,
  proxyClsConfigSchema,
  proxyClsToPython,
} from "./class-config.ts";
import { llmConfigSource, type LLMConfigSource, type ServingArgsOptions } from "./config-source.ts";
import { decodeNixlPortBase, decodePortBases } from "./decode-port-bases.ts";
import { readKvTransferConfig } from "./kv-transfer-config.ts";
import { isPlainObject, objectOf, optional, withDefault } from "./lax-schema.ts";
import type { LLMConfig } from "./llm-config.ts";
import { loraDisagreements } from "./lora-config.ts";
import type { LLMDeploymentOptions } from "./llm-config-init.ts";
import { parseConfigDetailed } from "./parse-config.ts";
import type { RayCase } from "./ray-case.ts";
import { builderArgumentsForRay, type RayJson } from "./ray-export.ts";

/** Arguments of `buildPdOpenaiApp` as a user gives them. Ray's `PDServingArgs`. */
export interface PDServingArgsInit {
  /** The prefill side. Must serve the same model as `decodeConfig`, and name a KV connector. */
  readonly prefillConfig: LLMConfigSource;
  /** The decode side. */
  readonly decodeConfig: LLMConfigSource;
  /** @default `PDProxyServer`, no further arguments */
  readonly proxyClsConfig?: ProxyClsConfig | null | undefined;
  /** Deployment options of the proxy. @default none */
  readonly proxyDeploymentConfig?: LLMDeploymentOptions | null | undefined;
  /** @default `OpenAiIngress`, no further arguments */
  readonly ingressClsConfig?: IngressClsConfig | undefined;
  /** Deployment options of the ingress. @default {} */
  readonly ingressDeploymentConfig?: LLMDeploymentOptions | null | undefined;
}

/** {@link PDServingArgsInit} in Ray's spelling. */
export type RayPDServingArgsInit = RayCase<PDServingArgsInit>;

/** Checked arguments of `buildPdOpenaiApp`. */
export interface PDServingArgs {
  /** A copy of what was given. */
  readonly prefillConfig: LLMConfig;
  /** A copy of what was given, with the port bases that keep decode's side channels apart from prefill's. */
  readonly decodeConfig: LLMConfig;
  readonly proxyClsConfig: ProxyClsConfig | undefined;
  readonly proxyDeploymentConfig: LLMDeploymentOptions | undefined;
  readonly ingressClsConfig: IngressClsConfig;
  readonly ingressDeploymentConfig: LLMDeploymentOptions | undefined;
  /** What was accepted but may not do what its author expects. */
  readonly notes: readonly string[];
  /** The arguments as they were given, for Ray. @throws {ConfigurationError} when Ray could not have them */
  readonly toRay: () => RayJson;
}

/** Where the side channels of prefill engines start when nothing is said. */
const prefillNixlPortBase = 20_000;

/**
 * Reads the arguments of a prefill/decode application, in either spelling, and checks what must hold between the two
 * sides. The caller's LLMConfig objects are not changed.
 *
 * @throws {ConfigurationError} naming every problem of the first step that found any
 */
export function parsePDServingArgs(
  input: PDServingArgsInit | RayPDServingArgsInit,
  options: ServingArgsOptions = {},
): PDServingArgs {
  const schema = objectOf("PDServingArgs", {
    prefillConfig: llmConfigSource(options),
    decodeConfig: llmConfigSource(options),
    proxyClsConfig: optional(proxyClsConfigSchema),
    proxyDeploymentConfig: optionalDeploymentOverrides(),
    ingressClsConfig: withDefault(ingressClsConfigSchema, { ingressExtraKwargs: {} }),
    ingressDeploymentConfig: withDefault(optionalDeploymentOverrides(), {}),
  });
  const { value, given, explicitlySet, userPath } = parseConfigDetailed(schema, input, "PDServingArgs");
  const { prefillConfig, decodeConfig } = value;
  const problems = pairProblems(prefillConfig, decodeConfig);
  if (problems.length > 0) {
    throw new ConfigurationError(
      "PDServingArgs",
      problems.map(({ path, message }) => ({ path: userPath(path), type: "value_error", message })),
    );
  }
  return {
    prefillConfig,
    decodeConfig: withPortBases(decodeConfig),
    proxyClsConfig: value.proxyClsConfig,
    proxyDeploymentConfig: value.proxyDeploymentConfig,
    ingressClsConfig: value.ingressClsConfig,
    ingressDeploymentConfig: explicitlySet.has("ingressDeploymentConfig")
      ? value.ingressDeploymentConfig
      : {},
    notes: findNotes(prefillConfig, decodeConfig),
    toRay: () =>
      builderArgumentsForRay("PDServingArgs", given as RayJson, {
        prefillConfig: prefillConfig.toServeArgs(),
        decodeConfig: decodeConfig.toServeArgs(),
      }),
  };
}

/** Ray's `PDServingArgs.model_dump()`. */
export function pdServingArgsToPython(args: PDServingArgs): Readonly<Record<string, unknown>> {
  return {
    prefill_config: args.prefillConfig.toPython(),
    decode_config: args.decodeConfig.toPython(),
    proxy_cls_config: args.proxyClsConfig === undefined ? null : proxyClsToPython(args.proxyClsConfig),
    proxy_deployment_config: deploymentOverridesToPython(args.proxyDeploymentConfig),
    ingress_cls_config: ingressClsToPython(args.ingressClsConfig),
    ingress_deployment_config: deploymentOverridesToPython(args.ingressDeploymentConfig),
  };
}

interface Problem {
  readonly path: readonly string[];
  readonly message: string;
}

/**
 * What must hold between the sides and does not: the same model first, then a connector on both, then that they go
 * together. Paths are `prefillConfig`, `decodeConfig`, or empty.
 */
export function pairProblems(prefill: LLMConfig, decode: LLMConfig): readonly Problem[] {
  if (prefill.modelId !== decode.modelId) {
    return [
      {
        path: [],
        message: `P/D model id mismatch: prefill has "${prefill.modelId}", decode has "${decode.modelId}"`,
      },
    ];
  }
  const sides = [
    ["prefillConfig", prefill],
    ["decodeConfig", decode],
  ] as const;
  for (const [side, config] of sides) {
    if ((config.engineKwargs["kv_transfer_config"] ?? null) === null) {
      return [{ path: [side], message: "kv_transfer_config is required for P/D disaggregation" }];
    }
  }
  const problems: Problem[] = [];
  for (const [side, config] of sides) {
    const read = readKvTransferConfig(config.engineKwargs);
    if (read !== undefined && "message" in read) problems.push({ path: [side], message: read.message });
    const variables = config.runtimeEnv?.["envVars"];
    if (isPlainObject(variables) && "VLLM_NIXL_SIDE_CHANNEL_PORT" in variables) {
      problems.push({
        path: [side],
        message:
          "VLLM_NIXL_SIDE_CHANNEL_PORT is managed by Ray Serve and must not be set in runtime_env.env_vars; " +
          "move the range with experimental_configs.NIXL_SIDE_CHANNEL_PORT_BASE instead",
      });
    }
  }
  const [prefillSource, decodeSource] = [
    prefill.modelLoadingConfig.modelSource,
    decode.modelLoadingConfig.modelSource,
  ];
  if (
    prefillSource !== undefined &&
    decodeSource !== undefined &&
    !isDeepStrictEqual(prefillSource, decodeSource)
  ) {
    problems.push({
      path: ["decodeConfig"],
      message: `P/D model source mismatch: both sides must load the same model, but prefill has ${JSON.stringify(prefillSource)} and decode has ${JSON.stringify(decodeSource)}`,
    });
  }
  const [prefillConnector, decodeConnector] = [
    prefill.kvTransferConfig?.kvConnector,
    decode.kvTransferConfig?.kvConnector,
  ];
  if (
    prefillConnector !== undefined &&
    decodeConnector !== undefined &&
    prefillConnector !== decodeConnector
  ) {
    problems.push({
      path: ["decodeConfig"],
      message: `P/D KV connector mismatch: prefill has ${prefillConnector}, decode has ${decodeConnector}`,
    });
  }
  return problems;
}

/** A value that was given stays, also null. */
function withPortBases(decode: LLMConfig): LLMConfig {
  const bases = decodePortBases(decode.kvTransferConfig?.kvConnector);
  return decode.with({ experimentalConfigs: { ...bases, ...decode.experimentalConfigs } });
}

/** Engine arguments whose difference changes how KV blocks look. */
const geometryArguments = ["kv_cache_dtype", "block_size", "dtype"] as const;

function findNotes(prefill: LLMConfig, decode: LLMConfig): readonly string[] {
  const notes = [
    ...prefill.notes().map((note) => `prefill_config: ${note}`),
    ...decode.notes().map((note) => `decode_config: ${note}`),
  ];
  for (const argument of geometryArguments) {
    const [left, right] = [prefill.engineKwargs[argument], decode.engineKwargs[argument]];
    if (left === undefined || right === undefined || isDeepStrictEqual(left, right)) continue;
    notes.push(
      `engine_kwargs.${argument} differs: prefill has ${JSON.stringify(left)}, decode has ${JSON.stringify(right)}; ` +
        "not every connector can carry KV between them",
    );
  }
  const base = (config: LLMConfig, fallback: number): unknown =>
    config.experimentalConfigs["NIXL_SIDE_CHANNEL_PORT_BASE"] ?? fallback;
  const port = base(decode, decodeNixlPortBase);
  if (base(prefill, prefillNixlPortBase) === port) {
    notes.push(
      `prefill and decode have the same NIXL_SIDE_CHANNEL_PORT_BASE (${String(port)}): on one host their ports collide`,
    );
  }
  notes.push(...loraDisagreements(prefill.loraConfig, decode.loraConfig));
  return notes;
}
