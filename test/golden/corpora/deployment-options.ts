import { camelCased, snakeCased } from "../../../src/config/casing.ts";
import { className } from "../../../src/config/class-reference.ts";
import { deploymentConfigSchema } from "../../../src/config/deployment-config.ts";
import { parseDeploymentOptions } from "../../../src/config/deployment-options.ts";
import { rayActorOptionsSchema } from "../../../src/config/deployment-schema.ts";
import { type LLMDeploymentDefaults, readEnvironment } from "../../../src/config/environment.ts";
import { LLMConfig } from "../../../src/config/llm-config.ts";
import type { LLMConfigInit } from "../../../src/config/llm-config-init.ts";
import { deploymentOptionsShape } from "../../../src/config/llm-config-schema.ts";
import type { OptionTree } from "../../../src/config/merge-options.ts";
import { modelCard } from "../../../src/config/model-card.ts";
import { parsePDServingArgs, type RayPDServingArgsInit } from "../../../src/config/pd-serving-args.ts";
import {
  checkDeploymentNames,
  dataParallelDeploymentOptions,
  ingressDeploymentOptions,
  llmDeploymentOptions,
  mergedIngressOptions,
  pdProxyDeploymentOptions,
  serverDeploymentOptions,
} from "../../../src/config/server-options.ts";
import {
  type DPOpenAiServingArgsInit,
  type LLMServingArgsInit,
  parseDPOpenAiServingArgs,
  parseLLMServingArgs,
} from "../../../src/config/serving-args.ts";
import { accepted, attempt, type Outcome, type RecordedError, same, sameError } from "../compare.ts";
import { checkDeviation } from "../deviations.ts";
import type { GoldenCase, SkipReason } from "../golden-case.ts";
import { asRecordedHere, deploymentDeviations, withoutInstances } from "./deployment-deviations.ts";

type Json = Readonly<Record<string, unknown>>;

/** One deployment as planned here. */
export interface Planned {
  readonly name: string;
  readonly deployment_config: Json;
  readonly replica_config: Json;
  readonly init_kwargs: Json | undefined;
}

/** What a case comes to here: a graph, or the options of a class. */
export interface Plan {
  readonly deployments: readonly Planned[];
  readonly options: Json | undefined;
  readonly notes: readonly string[];
}

interface Input {
  readonly builder?: "build_llm_deployment" | "build_dp_deployment";
  readonly llm_config?: Json;
  readonly kwargs?: Json;
  readonly app?: "build_openai_app" | "build_pd_openai_app" | "build_dp_openai_app";
  readonly args?: Json;
  readonly class?: string;
  readonly llm_configs?: readonly Json[] | null;
  readonly env?: Readonly<Record<string, string>>;
}

/** Checks one case of `deployment-options.jsonl`. */
export function check(kase: GoldenCase): void | SkipReason {
  const input = withoutInstances(kase.input) as Input;
  // Direct streaming is a matter of Ray's HAProxy: there is no second way to an engine here.
  if (input.env?.["RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING"] === "1") return "needs-ray-cluster";
  const subject: Outcome<Plan> = attempt(() => plan(input));
  if (checkDeviation(deploymentDeviations, { ...kase, input }, subject)) return;
  const expected = kase.expect as Json;
  if (expected["ok"] !== true) {
    sameError(subject, expected as unknown as RecordedError);
    return;
  }
  const actual = accepted(subject);
  if (expected["options"] !== undefined) {
    same(actual.options, asRecordedHere(expected["options"]), "options");
    return;
  }
  const recorded = expected["deployments"] as readonly Json[];
  same(
    actual.deployments.map(({ name }) => name),
    recorded.map(({ name }) => name),
    "names",
  );
  for (const [index, planned] of actual.deployments.entries()) {
    const { deployment_config, replica_config, init_kwargs } = asRecordedHere(recorded[index], input) as Json;
    same(planned.deployment_config, deployment_config, `${planned.name}.deployment_config`);
    same(planned.replica_config, replica_config, `${planned.name}.replica_config`);
    if (planned.init_kwargs !== undefined)
      same(planned.init_kwargs, init_kwargs, `${planned.name}.init_kwargs`);
  }
}

function plan(input: Input): Plan {
  const defaults = readEnvironment(input.env ?? {}).deploymentDefaults;
  if (input.class !== undefined) return planClass(input.class, input.llm_configs ?? undefined, defaults);
  if (input.app !== undefined) return planApp(input.app, input.args ?? {}, defaults);
  const config = new LLMConfig(input.llm_config as unknown as LLMConfigInit);
  const kwargs = input.kwargs ?? {};
  const fallback = input.builder === "build_dp_deployment" ? "DPServer" : "LLMServer";
  const chosen = (kwargs["deployment_cls"] as string | undefined) ?? serverClassName(config) ?? fallback;
  const overrides = camelCased(deploymentOptionsShape, kwargs["override_serve_options"] ?? {})
    .value as OptionTree;
  const options = llmDeploymentOptions(config, {
    className: chosen,
    namePrefix: (kwargs["name_prefix"] as string | null | undefined) ?? undefined,
    overrideOptions: overrides,
    defaults,
  });
  return { deployments: [planned(options)], options: undefined, notes: config.notes() };
}

function serverClassName(config: LLMConfig): string | undefined {
  return config.serverCls === undefined ? undefined : className(config.serverCls);
}

function planClass(name: string, inits: readonly Json[] | undefined, defaults: LLMDeploymentDefaults): Plan {
  const configs = inits?.map((init) => new LLMConfig(init as unknown as LLMConfigInit));
  const [config] = configs ?? [];
  const options = (): unknown => {
    if (name === "PDProxyServer") return pdProxyDeploymentOptions(defaults);
    if (name === "OpenAiIngress") return ingressDeploymentOptions(configs, defaults);
    if (config === undefined) throw new Error("the class needs a configuration");
    return name.startsWith("DP") ? dataParallelDeploymentOptions(config) : serverDeploymentOptions(config);
  };
  const dump = snakeCased(deploymentOptionsShape, options()) as Json;
  return { deployments: [], options: dump, notes: configs?.flatMap((each) => each.notes()) ?? [] };
}

function planApp(app: NonNullable<Input["app"]>, args: Json, defaults: LLMDeploymentDefaults): Plan {
  const server = (config: LLMConfig, plain: string, namePrefix?: string): Planned =>
    planned(
      llmDeploymentOptions(config, {
        className:
          config.dataParallelSize > 1 && plain !== "LLMServer"
            ? "DPServer"
            : (serverClassName(config) ?? plain),
        namePrefix,
        defaults,
      }),
    );
  const ingress = (configs: readonly LLMConfig[], user: unknown, servers: readonly Planned[]): Planned => {
    const own = ingressDeploymentOptions(configs, defaults);
    const target = servers.slice(-configs.length);
    const paths = configs.flatMap(({ modelId, loraConfig }) =>
      loraConfig === undefined ? [] : [[modelId, loraConfig.dynamicLoraLoadingPath ?? null]],
    );
    return planned(mergedIngressOptions(own, (user ?? {}) as OptionTree), "OpenAiIngress", {
      llm_deployments: Object.fromEntries(
        configs.map(({ modelId }, index) => [modelId, { deployment: target[index]?.name }]),
      ),
      model_cards: Object.fromEntries(
        configs.map((config) => [config.modelId, modelCard(config.modelId, config)]),
      ),
      lora_paths: Object.fromEntries(paths),
    });
  };
  if (app === "build_pd_openai_app") {
    const parsed = parsePDServingArgs(args as unknown as RayPDServingArgsInit);
    const { prefillConfig, decodeConfig, ingressClsConfig } = parsed;
    const servers = [
      server(prefillConfig, "PDPrefillServer", "Prefill:"),
      server(decodeConfig, "PDDecodeServer", "Decode:"),
    ];
    const front = ingress([decodeConfig], parsed.ingressDeploymentConfig, servers);
    return finish([...servers, withKwargs(front, ingressClsConfig.ingressExtraKwargs)], parsed.notes);
  }
  if (app === "build_dp_openai_app") {
    const parsed = parseDPOpenAiServingArgs(args as unknown as DPOpenAiServingArgsInit);
    const servers = [server(parsed.llmConfig, "DPServer")];
    const front = ingress([parsed.llmConfig], parsed.ingressDeploymentConfig, servers);
    return finish(
      [...servers, withKwargs(front, parsed.ingressClsConfig.ingressExtraKwargs)],
      parsed.llmConfig.notes(),
    );
  }
  const parsed = parseLLMServingArgs(args as unknown as LLMServingArgsInit);
  const servers = parsed.llmConfigs.map((config) => server(config, "LLMServer"));
  const front = ingress(parsed.llmConfigs, parsed.ingressDeploymentConfig, servers);
  return finish(
    [...servers, withKwargs(front, parsed.ingressClsConfig.ingressExtraKwargs)],
    parsed.llmConfigs.flatMap((config) => config.notes()),
  );
}

function finish(deployments: readonly Planned[], notes: readonly string[]): Plan {
  checkDeploymentNames(deployments.map(({ name }) => name));
  return { deployments, options: undefined, notes };
}

function withKwargs(deployment: Planned, extra: Json | null | undefined): Planned {
  return { ...deployment, init_kwargs: { ...deployment.init_kwargs, ...extra } };
}

function planned(options: OptionTree, fallbackName = "", initKwargs?: Json): Planned {
  const { name, config, replica } = parseDeploymentOptions(options);
  return {
    name: name ?? fallbackName,
    deployment_config: asRecordedHere(snakeCased(deploymentConfigSchema, config)) as Json,
    replica_config: {
      ray_actor_options: snakeCased(rayActorOptionsSchema, replica.rayActorOptions),
      placement_group_bundles: replica.placementGroupBundles,
      placement_group_strategy: replica.placementGroupStrategy,
      max_replicas_per_node: replica.maxReplicasPerNode,
    },
    init_kwargs: initKwargs,
  };
}
