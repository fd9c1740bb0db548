import { ConfigurationError } from "../errors/configuration-error.ts";
import { defaultTargetOngoingRequests } from "./autoscaling-config.ts";
import { configurationProblem } from "./accelerators.ts";
import { dataParallelLayout } from "./data-parallel-layout.ts";
import type { DeploymentOptions } from "./deployment-options.ts";
import { type LLMDeploymentDefaults, rayDeploymentDefaults } from "./environment.ts";
import type { LLMConfig } from "./llm-config.ts";
import { mergeDeploymentDefaults, type OptionTree } from "./merge-options.ts";
import { deploymentNameOfModel } from "./model-id.ts";
import { mergeReplicaBundle, replicaBundle } from "./placement-bundles.ts";
import { mergeRuntimeEnvs } from "./runtime-env.ts";

/**
 * Options of an LLM server's deployment, before defaults. Ray's `LLMServer.get_deployment_options`.
 *
 * @throws {ConfigurationError} also for what only shows when the engine's configuration is built
 */
export function serverDeploymentOptions(config: LLMConfig): DeploymentOptions {
  const engine = config.getEngineConfig();
  const { name: _name, ...given } = config.deploymentConfig;
  if ("placementGroupBundles" in given || "placementGroupStrategy" in given) {
    throw configurationProblem(
      "LLMConfig",
      ["deployment_config"],
      "placement_group_bundles and placement_group_strategy must not be specified in deployment_config. " +
        "You can override the default values by setting the `placement_group_config` in the LLMConfig.",
    );
  }
  if ("version" in given) {
    throw configurationProblem(
      "LLMConfig",
      ["deployment_config", "version"],
      "`version` in `@serve.deployment` has been removed. Serve manages deployment versions internally.",
    );
  }
  const actor = given.rayActorOptions ?? {};
  const runtimeEnv = mergeRuntimeEnvs(actor.runtimeEnv ?? {}, config.runtimeEnv ?? {});
  const actorOptions = Object.keys(runtimeEnv).length > 0 ? { ...actor, runtimeEnv } : actor;
  const placement = engine.requiresDeferredPlacementGroup
    ? {}
    : {
        placementGroupBundles: mergeReplicaBundle(engine.placementBundles, replicaBundle(actor)),
        placementGroupStrategy: engine.placementStrategy,
      };
  // Built even when it is not used: a wrong topology shows here, as in Ray.
  if (engine.requiresDeferredPlacementGroup) void engine.placementBundles;
  return {
    ...given,
    ...placement,
    ...(Object.keys(actorOptions).length > 0 ? { rayActorOptions: actorOptions } : {}),
  } as DeploymentOptions;
}

/**
 * Options of a data-parallel deployment: one replica for each rank, scheduled together. Ray's
 * `DPServer.get_deployment_options`, with one difference: `num_replicas` is the number of ranks, so it must be
 * `data_parallel_size` (or absent), and autoscaling is refused.
 *
 * @throws {ConfigurationError}
 */
export function dataParallelDeploymentOptions(config: LLMConfig): DeploymentOptions {
  const options = serverDeploymentOptions(config);
  const { size: ranks } = dataParallelLayout(config);
  if (ranks === 1) return options;
  const { numReplicas, autoscalingConfig } = options;
  if (numReplicas === "auto" || (autoscalingConfig !== undefined && autoscalingConfig !== null)) {
    throw configurationProblem(
      "LLMConfig",
      ["deployment_config"],
      "Autoscaling is not supported for data-parallel deployments; use a fixed num_replicas equal to " +
        `data_parallel_size (${ranks}), or leave it out`,
    );
  }
  // As given: it may be a numeric string. Zero is refused with Ray's own words when the options are read.
  const given: unknown = numReplicas ?? ranks;
  const replicas = Number(given);
  if (replicas !== ranks && replicas !== 0) {
    throw configurationProblem(
      "LLMConfig",
      ["deployment_config", "num_replicas"],
      `num_replicas (${numReplicas}) must match data_parallel_size (${ranks})`,
    );
  }
  const { placementGroupStrategy: _strategy, autoscalingConfig: _autoscaling, ...rest } = options;
  return {
    ...rest,
    numReplicas: numReplicas ?? ranks,
    gangSchedulingConfig: {
      gangSize: ranks,
      gangPlacementStrategy: "PACK",
      runtimeFailurePolicy: "RESTART_GANG",
    },
  };
}

/** Options of the prefill/decode proxy. Ray's `PDProxyServer.get_deployment_options`. */
export function pdProxyDeploymentOptions(
  defaults: LLMDeploymentDefaults = rayDeploymentDefaults,
): DeploymentOptions {
  return { maxOngoingRequests: defaults.maxOngoingRequests };
}

/**
 * Options of the OpenAI ingress: it may scale to zero when every model may. Ray's
 * `OpenAiIngress.get_deployment_options`.
 */
export function ingressDeploymentOptions(
  configs: readonly LLMConfig[] | undefined,
  defaults: LLMDeploymentDefaults = rayDeploymentDefaults,
): DeploymentOptions {
  const toZero =
    configs !== undefined &&
    configs.length > 0 &&
    configs.every(({ deploymentConfig }) => {
      const least: unknown = deploymentConfig.autoscalingConfig?.minReplicas;
      return least !== undefined && least !== null && Number(least) === 0;
    });
  return {
    maxOngoingRequests: defaults.maxOngoingRequests,
    autoscalingConfig: {
      targetOngoingRequests: defaults.targetOngoingRequests,
      ...(toZero ? { minReplicas: 0 } : {}),
    },
  };
}

/** A user's options of the ingress over its own; a fixed `numReplicas` drops the autoscaling of the latter. */
export function mergedIngressOptions(own: DeploymentOptions, user: OptionTree = {}): OptionTree {
  return mergeDeploymentDefaults(own as OptionTree, user);
}

/** What a builder may say about one LLM deployment. */
export interface LLMDeploymentPlan {
  /** Class of the server, for the name's prefix. */
  readonly className: string;
  /** What the class's `getDeploymentOptions` says. */
  readonly own: OptionTree;
  /** Put before the name; empty for no prefix. @default the class and a colon */
  readonly namePrefix?: string | undefined;
  /** Options over everything else, `name` included. Ray's `override_serve_options`. */
  readonly overrideOptions?: OptionTree | undefined;
  readonly defaults?: LLMDeploymentDefaults | undefined;
}

/**
 * The complete options of one LLM deployment, as Ray's `build_llm_deployment` gives them to Serve: name, the server's
 * own options, the builder's, and LLM defaults below. Give them to `parseDeploymentOptions`.
 *
 * An `autoscaling_config` without a target gets Serve's (2 requests a replica) rather than the LLM default, which
 * nothing ever reaches: with it Ray never scales on load.
 *
 * @throws {ConfigurationError}
 */
export function llmDeploymentOptions(config: LLMConfig, plan: LLMDeploymentPlan): OptionTree {
  const { className, own, namePrefix = `${className}:`, defaults = rayDeploymentDefaults } = plan;
  const name = namePrefix + (config.deploymentConfig.name ?? deploymentNameOfModel(config.modelId));
  const chosen: OptionTree = { ...own, name, ...plan.overrideOptions };
  const scales = chosen["autoscalingConfig"] !== undefined;
  return mergeDeploymentDefaults(
    {
      maxOngoingRequests: defaults.maxOngoingRequests,
      healthCheckPeriodS: defaults.healthCheckPeriodS,
      healthCheckTimeoutS: defaults.healthCheckTimeoutS,
      autoscalingConfig: {
        targetOngoingRequests: scales ? defaultTargetOngoingRequests : defaults.targetOngoingRequests,
      },
    },
    chosen,
  );
}

/**
 * Checks that deployments of one application have names of their own: different model ids may give the same one.
 *
 * @throws {ConfigurationError}
 */
export function checkDeploymentNames(names: readonly string[]): void {
  const twice = names.filter((name, index) => names.indexOf(name) !== index);
  if (twice.length === 0) return;
  throw new ConfigurationError(
    "Application",
    [...new Set(twice)].map((name) => ({
      path: [],
      type: "value_error",
      message: `Two deployments are named "${name}"; give one a deployment_config.name`,
    })),
  );
}
