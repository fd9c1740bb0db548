import { dataParallelLayout } from "../config/data-parallel-layout.ts";
import type { DeploymentConfig } from "../config/deployment-config.ts";
import { parseDeploymentOptions } from "../config/deployment-options.ts";
import type { Discovery } from "../config/endpoint.ts";
import type { LLMConfig } from "../config/llm-config.ts";
import type { RequestRouterConfig } from "../config/request-router-config.ts";
import type { ScalingTarget } from "../config/scaling-target.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { createRequestRouter } from "../routing/router-registry.ts";
import type { RequestRouter, RequestRouterContext, RequestRouterFactory } from "../routing/request-router.ts";
import { endpointDiscovery } from "./endpoint-discovery.ts";
import { namedScalingTarget } from "./named-scaling-target.ts";
import type { DeploymentContext } from "../serve/deployment-context.ts";
import type { EnginePoolInit } from "../serve/engine-pool.ts";
import type { PoolScalingOptions } from "../serve/pool-scaling.ts";

/**
 * What a pool is made from: the endpoints and client of a model's configuration, and the options its deployment has.
 *
 * @throws ConfigurationError when an option is not usable
 */
export function enginePoolInit(config: LLMConfig, context: DeploymentContext): EnginePoolInit {
  const { config: options } = parseDeploymentOptions(context.options);
  const gangSize = options.gangSchedulingConfig?.gangSize ?? 1;
  const target = config.scalingTarget === undefined ? undefined : namedScalingTarget(config.scalingTarget);
  return {
    deployment: context.name,
    endpoints: discoveryOf(config, target, context.name),
    ranks: gangSize > 1 ? { size: gangSize, perNode: dataParallelLayout(config).perNode } : undefined,
    endpointsComplete: Array.isArray(config.endpoints),
    scaling: target === undefined ? undefined : scalingOf(target, config, options),
    client: config.client,
    router: makeRouter(options.requestRouterConfig, context),
    clock: context.clock,
    random: context.random,
    modelId: config.modelLoadingConfig.modelId,
    healthCheckPeriodS: options.healthCheckPeriodS,
    healthCheckTimeoutS: options.healthCheckTimeoutS,
    requestRoutingStatsPeriodS: options.requestRouterConfig.requestRoutingStatsPeriodS,
    requestRoutingStatsTimeoutS: options.requestRouterConfig.requestRoutingStatsTimeoutS,
    maxOngoingRequests: options.maxOngoingRequests,
    maxQueuedRequests: options.maxQueuedRequests,
    rejectStatus: options.backpressureConfig.statusCode,
    retryAfterS: options.backpressureConfig.retryAfterS ?? undefined,
    warn: context.warn,
  };
}

/** A router of this name for a deployment whose options name none; undefined when they do. */
export function routerUnlessChosen(name: string, context: DeploymentContext): RequestRouter | undefined {
  const { explicitlySet } = parseDeploymentOptions(context.options);
  return explicitlySet.has("requestRouterConfig")
    ? undefined
    : createRequestRouter(name, routerContextOf(context, {}));
}

function routerContextOf(
  { random, clock }: DeploymentContext,
  kwargs: RequestRouterContext["kwargs"],
): RequestRouterContext {
  return { random: () => random.next(), now: () => clock.now(), kwargs };
}

function makeRouter(config: RequestRouterConfig, context: DeploymentContext): RequestRouter {
  const routerContext = routerContextOf(context, config.requestRouterKwargs);
  const { requestRouterClass } = config;
  return typeof requestRouterClass === "function"
    ? (requestRouterClass as unknown as RequestRouterFactory)(routerContext)
    : createRequestRouter(requestRouterClass, routerContext);
}

/** A configuration without endpoints can be checked and exported; it just can't be started. */
function discoveryOf(
  { endpoints }: LLMConfig,
  target: ScalingTarget | undefined,
  deployment: string,
): Discovery {
  if (endpoints !== undefined && target?.endpoints !== undefined) throw twoSources(deployment);
  const source = endpoints ?? target?.endpoints;
  if (source !== undefined) return endpointDiscovery(source);
  return () => {
    throw noEndpoints(deployment);
  };
}

function scalingOf(target: ScalingTarget, config: LLMConfig, options: DeploymentConfig): PoolScalingOptions {
  const limitS = config.deploymentConfig.gracefulShutdownTimeoutS;
  return {
    target,
    autoscaling: options.autoscalingConfig ?? undefined,
    numReplicas: options.numReplicas ?? 1,
    gangSize: options.gangSchedulingConfig?.gangSize ?? 1,
    // Ray's default of 20 s would cut answers that are on their way; only who asks for a limit has one.
    drainTimeoutMs: limitS === undefined ? undefined : limitS * 1000,
    engine: {
      devices: config.getEngineConfig().numDevices,
      dataParallelSize: config.dataParallelSize,
      command: (given) => config.toVllmCommand(given),
    },
  };
}

function twoSources(deployment: string): ConfigurationError {
  return new ConfigurationError(`Deployment "${deployment}"`, [
    {
      path: ["endpoints"],
      message: "The scaling target says itself where its engines are; leave endpoints out",
      type: "value_error",
    },
  ]);
}

function noEndpoints(deployment: string): ConfigurationError {
  return new ConfigurationError(`Deployment "${deployment}"`, [
    {
      path: ["endpoints"],
      message:
        "No endpoints are given: this library drives engines that run elsewhere, it does not start any",
      type: "missing",
      expected: 'URLs of vLLM servers, for example endpoints: ["http://prefill-0:8000"]',
    },
  ]);
}
