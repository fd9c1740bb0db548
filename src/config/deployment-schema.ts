import type * as z from "zod";

import { autoscalingSchema } from "./autoscaling-config.ts";
import { backpressureSchema, type BackpressureOptions } from "./backpressure-config.ts";
import { camelCased } from "./casing.ts";
import { deploymentActors, duplicateActorsProblem, type DeploymentActor } from "./deployment-actors.ts";
import { isQueueLimit, maxQueuedRequestsMessage } from "./deployment-config.ts";
import { fixedAndAutoscaledMessage, gangProblems } from "./deployment-options.ts";
import { gangSchedulingSchema, type GangSchedulingOptions } from "./gang-scheduling-config.ts";
import {
  anything,
  integer,
  isPlainObject,
  listOf,
  mapOf,
  nullable,
  number,
  objectOf,
  opaqueMap,
  reading,
  report,
  strictInteger,
  text,
} from "./lax-schema.ts";
import { loggingSchema, type LoggingOptions } from "./logging-config.ts";
import { perNodeWithBundlesMessage, rayActorShape, type RayActorOptions } from "./replica-config.ts";
import { remoteRuntimeEnvSchema } from "./runtime-env.ts";

/**
 * One entry of `deployments[]` in a Serve config file: options put over those from code. Ray's `DeploymentSchema`,
 * keys in camelCase. Only what was given is there. `autoscalingConfig` and `requestRouterConfig` are as written:
 * they are read when they are put over the code's.
 */
export interface DeploymentOverride {
  /** The deployment this is for. */
  readonly name: string;
  readonly numReplicas?: number | "auto" | null | undefined;
  readonly maxOngoingRequests?: number | undefined;
  readonly maxQueuedRequests?: number | undefined;
  readonly backpressureConfig?: BackpressureOptions | undefined;
  readonly userConfig?: Readonly<Record<string, unknown>> | null | undefined;
  readonly autoscalingConfig?: Readonly<Record<string, unknown>> | null | undefined;
  readonly gracefulShutdownWaitLoopS?: number | undefined;
  readonly gracefulShutdownTimeoutS?: number | undefined;
  readonly healthCheckPeriodS?: number | undefined;
  readonly healthCheckTimeoutS?: number | undefined;
  readonly rayActorOptions?: RayActorOptions | undefined;
  readonly placementGroupBundles?: readonly Readonly<Record<string, number>>[] | null | undefined;
  readonly placementGroupStrategy?: string | null | undefined;
  readonly placementGroupBundleLabelSelector?: readonly Readonly<Record<string, string>>[] | null | undefined;
  readonly maxReplicasPerNode?: number | null | undefined;
  readonly loggingConfig?: LoggingOptions | undefined;
  readonly requestRouterConfig?: Readonly<Record<string, unknown>> | undefined;
  readonly gangSchedulingConfig?: GangSchedulingOptions | null | undefined;
  readonly deploymentActors?: readonly DeploymentActor[] | null | undefined;
  readonly rollingUpdatePercentage?: number | undefined;
}

/** Options of a Ray actor that Serve's config file lets pass and never uses. */
export const unusedActorOptions = {
  concurrencyGroups: anything().optional(),
  enableTaskEvents: anything().optional(),
  getIfExists: anything().optional(),
  lifetime: anything().optional(),
  maxConcurrency: anything().optional(),
  maxPendingCalls: anything().optional(),
  maxRestarts: anything().optional(),
  maxTaskRetries: anything().optional(),
  name: anything().optional(),
  namespace: anything().optional(),
  objectStoreMemory: anything().optional(),
  schedulingStrategy: anything().optional(),
};

/**
 * Reads Ray's `RayActorOptionsSchema`: as code's `ray_actor_options`, but local paths are refused and other options
 * of Ray actors are dropped, as Ray does; `unusedOptionWarnings` names those.
 */
export const rayActorOptionsSchema = objectOf("RayActorOptionsSchema", {
  ...rayActorShape,
  runtimeEnv: remoteRuntimeEnvSchema.optional(),
  ...unusedActorOptions,
}).transform((options) => without(options, unusedActorOptions));

/** Options of `serve.deployment` that a Serve config file lets pass and never uses. */
export const unusedDeploymentOptions = { maxConstructorRetryCount: anything().optional() };

function without<T extends object>(options: T, unused: object): T {
  return Object.fromEntries(Object.entries(options).filter(([key]) => !(key in unused))) as T;
}

function replicas(): z.ZodType {
  const fixed = integer({ greaterThan: 0 });
  return reading<unknown>((input) => {
    // Anything but a number is judged with the whole, as Ray does.
    if (typeof input !== "number" || !Number.isInteger(input)) return { value: input };
    const result = fixed.safeParse(input);
    if (result.success) return { value: result.data };
    return { type: "greater_than", message: "Input should be greater than 0" };
  });
}

const positive = { greaterThan: 0 } as const;
const notNegative = { atLeast: 0 } as const;

/** Reads Ray's `DeploymentSchema`. Its output is a {@link DeploymentOverride}. */
export const deploymentSchema = objectOf("DeploymentSchema", {
  name: text(),
  numReplicas: nullable(replicas()),
  maxOngoingRequests: integer(positive).optional(),
  maxQueuedRequests: strictInteger().optional(),
  backpressureConfig: backpressureSchema.optional(),
  userConfig: nullable(opaqueMap()),
  autoscalingConfig: nullable(opaqueMap()),
  gracefulShutdownWaitLoopS: number(notNegative).optional(),
  gracefulShutdownTimeoutS: number(notNegative).optional(),
  healthCheckPeriodS: number(positive).optional(),
  healthCheckTimeoutS: number(positive).optional(),
  rayActorOptions: rayActorOptionsSchema.optional(),
  placementGroupBundles: nullable(listOf(mapOf(number()))),
  placementGroupStrategy: nullable(text()),
  placementGroupBundleLabelSelector: nullable(listOf(mapOf(text()))),
  maxReplicasPerNode: nullable(integer()),
  loggingConfig: loggingSchema.optional(),
  requestRouterConfig: opaqueMap().optional(),
  gangSchedulingConfig: nullable(gangSchedulingSchema),
  deploymentActors: nullable(deploymentActors()),
  rollingUpdatePercentage: number({ greaterThan: 0, atMost: 1 }).optional(),
  ...unusedDeploymentOptions,
})
  .check((context) => {
    const message = overrideProblem(context.value as DeploymentOverride);
    if (message !== undefined) report(context, { type: "value_error", message });
  })
  .transform((options) => without(options, unusedDeploymentOptions) as DeploymentOverride);

/** The first thing that is wrong between the fields, in Ray's words and order. */
function overrideProblem(options: DeploymentOverride): string | undefined {
  const { numReplicas, autoscalingConfig, maxQueuedRequests, gangSchedulingConfig } = options;
  if (Number.isInteger(numReplicas) && autoscalingConfig) return fixedAndAutoscaledMessage;
  const isGiven = numReplicas !== undefined && numReplicas !== null;
  if (isGiven && numReplicas !== "auto" && !Number.isInteger(numReplicas)) {
    return `\`num_replicas\` must be an int or "auto", but got: ${String(numReplicas)}`;
  }
  if (typeof options.maxReplicasPerNode === "number" && options.placementGroupBundles) {
    return perNodeWithBundlesMessage;
  }
  if (maxQueuedRequests !== undefined && !isQueueLimit(maxQueuedRequests)) return maxQueuedRequestsMessage;
  if (gangSchedulingConfig) return gangProblem(options, gangSchedulingConfig.gangSize);
  return duplicateActorsProblem(options.deploymentActors);
}

function gangProblem(options: DeploymentOverride, gangSize: number): string | undefined {
  const [excluded] = gangProblems(options);
  if (excluded !== undefined) return excluded;
  const { numReplicas } = options;
  if (typeof numReplicas === "number" && numReplicas % gangSize !== 0) {
    return `num_replicas (${numReplicas}) must be a multiple of gang_size (${gangSize}).`;
  }
  const autoscaling = camelCased(autoscalingSchema, options.autoscalingConfig ?? {}).value;
  if (!isPlainObject(autoscaling)) return undefined;
  if (autoscaling["minReplicas"] === 0) return "Scale to zero isn't supported for gang scheduling.";
  for (const [key, name] of gangFields) {
    const value = autoscaling[key];
    if (typeof value === "number" && value % gangSize !== 0) {
      return `autoscaling_config.${name} (${value}) must be a multiple of gang_size (${gangSize}).`;
    }
  }
  return undefined;
}

const gangFields = [
  ["minReplicas", "min_replicas"],
  ["maxReplicas", "max_replicas"],
  ["initialReplicas", "initial_replicas"],
] as const;
