import { buildDpDeployment } from "../../../src/builders/build-dp-deployment.ts";
import { buildDpOpenaiApp } from "../../../src/builders/build-dp-openai-app.ts";
import { buildLlmDeployment } from "../../../src/builders/build-llm-deployment.ts";
import { buildOpenaiApp } from "../../../src/builders/build-openai-app.ts";
import { buildPdOpenaiApp } from "../../../src/builders/build-pd-openai-app.ts";
import { snakeCased } from "../../../src/config/casing.ts";
import { deploymentConfigSchema } from "../../../src/config/deployment-config.ts";
import { parseDeploymentOptions } from "../../../src/config/deployment-options.ts";
import { rayActorOptionsSchema } from "../../../src/config/deployment-schema.ts";
import { LLMConfig } from "../../../src/config/llm-config.ts";
import type { LLMConfigInit } from "../../../src/config/llm-config-init.ts";
import { deploymentOptionsShape } from "../../../src/config/llm-config-schema.ts";
import { modelCard } from "../../../src/config/model-card.ts";
import { OpenAiIngress } from "../../../src/ingress/openai-ingress.ts";
import { DPServer } from "../../../src/llm/dp-server.ts";
import { LLMServer } from "../../../src/llm/llm-server.ts";
import { PDProxyServer } from "../../../src/llm/pd-proxy-server.ts";
import { Application } from "../../../src/serve/application.ts";
import type { DeploymentInit } from "../../../src/serve/deployment.ts";
import type { ApplicationNode } from "../../../src/serve/deployment-context.ts";
import { accepted, attempt, type Outcome, type RecordedError, same, sameError } from "../compare.ts";
import { checkDeviation } from "../deviations.ts";
import type { GoldenCase } from "../golden-case.ts";
import { asRecordedHere, deploymentDeviations, withoutInstances } from "./deployment-deviations.ts";

type Json = Readonly<Record<string, unknown>>;

/** One deployment as planned here. */
export interface Planned {
  readonly name: string;
  readonly class: string;
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
export function check(kase: GoldenCase): void {
  const input = withoutInstances(kase.input) as Input;
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
    const recordedClass = (recorded[index] as Json)["class"] as string;
    same(planned.class, classes[recordedClass]?.name ?? recordedClass, `${planned.name}.class`);
    const { deployment_config, replica_config, init_kwargs } = asRecordedHere(recorded[index], input) as Json;
    same(planned.deployment_config, deployment_config, `${planned.name}.deployment_config`);
    same(planned.replica_config, replica_config, `${planned.name}.replica_config`);
    if (planned.init_kwargs !== undefined)
      same(planned.init_kwargs, init_kwargs, `${planned.name}.init_kwargs`);
  }
}

/** Runs the real builders with the environment of the case, and looks at what they made. */
function plan(input: Input): Plan {
  return withEnvironment(input.env ?? {}, () => {
    if (input.class !== undefined) return planClass(input.class, input.llm_configs ?? undefined);
    if (input.app !== undefined) return planApp(input.app, input.args ?? {});
    const { kwargs = {} } = input;
    const build = input.builder === "build_dp_deployment" ? buildDpDeployment : buildLlmDeployment;
    const app = build(input.llm_config as unknown as LLMConfigInit, {
      namePrefix: (kwargs["name_prefix"] as string | null | undefined) ?? undefined,
      deploymentCls: kwargs["deployment_cls"] as string | undefined,
      overrideServeOptions: kwargs["override_serve_options"] as DeploymentInit | undefined,
      bindKwargs: kwargs["bind_kwargs"] as Json | undefined,
    });
    return { deployments: nodesOf(app).map((node) => planned(node)), options: undefined, notes: app.notes() };
  });
}

const classes: Readonly<Record<string, typeof LLMServer>> = {
  LLMServer,
  DPServer,
  PDPrefillServer: LLMServer,
  PDDecodeServer: LLMServer,
  DPPDPrefillServer: DPServer,
  DPPDDecodeServer: DPServer,
};

function planClass(name: string, inits: readonly Json[] | undefined): Plan {
  const configs = inits?.map((init) => new LLMConfig(init as unknown as LLMConfigInit)) ?? [];
  const options = (): unknown => {
    if (name === "PDProxyServer") {
      return PDProxyServer.getDeploymentOptions(configs[0] as LLMConfig, configs[1] as LLMConfig);
    }
    if (name === "OpenAiIngress") return OpenAiIngress.getDeploymentOptions(configs);
    const [config] = configs;
    const cls = classes[name];
    if (config === undefined || cls === undefined) throw new Error(`${name} needs a configuration`);
    return cls.getDeploymentOptions(config);
  };
  const dump = snakeCased(deploymentOptionsShape, options()) as Json;
  return { deployments: [], options: dump, notes: configs.flatMap((each) => each.notes()) };
}

function planApp(name: NonNullable<Input["app"]>, args: Json): Plan {
  const build = {
    build_openai_app: buildOpenaiApp,
    build_pd_openai_app: buildPdOpenaiApp,
    build_dp_openai_app: buildDpOpenaiApp,
  };
  const app = build[name](args as never);
  const nodes = nodesOf(app);
  const deployments = nodes
    // Ray's decode replica orchestrates; here a proxy stands before both pools.
    .filter(({ deployedClass }) => deployedClass !== (PDProxyServer as unknown))
    .map((node) => planned(node, node === nodes.at(-1) ? ingressArguments(node) : undefined));
  same(nodes.length - deployments.length, name === "build_pd_openai_app" ? 1 : 0, "proxies");
  return { deployments, options: undefined, notes: app.notes() };
}

/** The arguments Ray gives its ingress, out of those of ours. */
function ingressArguments({ args }: ApplicationNode): Json {
  const { llmDeployments, ...extra } = args as { readonly llmDeployments: readonly Application[] };
  const pools = llmDeployments.map(({ node }) => {
    const { decodeServer } = node.args as { readonly decodeServer?: Application };
    return decodeServer?.node ?? node;
  });
  const models = pools.map((node) => ({
    node,
    config: (node.args as { readonly llmConfig: LLMConfig }).llmConfig,
  }));
  return {
    llm_deployments: Object.fromEntries(
      models.map(({ node, config }) => [config.modelId, { deployment: node.name }]),
    ),
    model_cards: Object.fromEntries(
      models.map(({ config }) => [config.modelId, modelCard(config.modelId, config)]),
    ),
    lora_paths: Object.fromEntries(
      models.flatMap(({ config: { modelId, loraConfig } }) =>
        loraConfig === undefined ? [] : [[modelId, loraConfig.dynamicLoraLoadingPath ?? null]],
      ),
    ),
    ...extra,
  };
}

/** The nodes of a graph, callees first, each once. */
function nodesOf(app: Application): readonly ApplicationNode[] {
  const nodes = new Set<ApplicationNode>();
  const visit = (value: unknown): void => {
    if (value instanceof Application) {
      visit(value.node.args);
      nodes.add(value.node);
    } else if (Array.isArray(value)) {
      value.forEach(visit);
    } else if (
      typeof value === "object" &&
      value !== null &&
      Object.getPrototypeOf(value) === Object.prototype
    ) {
      Object.values(value).forEach(visit);
    }
  };
  visit(app);
  return [...nodes];
}

function withEnvironment<Result>(variables: Readonly<Record<string, string>>, run: () => Result): Result {
  const before = { ...process.env };
  Object.assign(process.env, variables);
  try {
    return run();
  } finally {
    for (const name of Object.keys(variables)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
}

function planned(node: ApplicationNode, initKwargs?: Json): Planned {
  const { config, replica } = parseDeploymentOptions(node.options);
  return {
    name: node.name,
    class: node.deployedClass.name,
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
