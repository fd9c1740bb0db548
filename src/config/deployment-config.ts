import * as z from "zod";

import {
  autoReplicasOptions,
  autoReplicasSchema,
  autoscalingSchema,
  resolveAutoscaling,
  type AutoscalingConfig,
  type AutoscalingOptions,
} from "./autoscaling-config.ts";
import {
  backpressureSchema,
  resolveBackpressure,
  type BackpressureConfig,
  type BackpressureOptions,
} from "./backpressure-config.ts";
import { snakeCased } from "./casing.ts";
import { deploymentActors, duplicateActorsProblem, type DeploymentActor } from "./deployment-actors.ts";
import {
  gangSchedulingSchema,
  resolveGangScheduling,
  type GangSchedulingConfig,
  type GangSchedulingOptions,
} from "./gang-scheduling-config.ts";
import { jsonProblem } from "./json-value.ts";
import {
  anything,
  integer,
  isPlainObject,
  listOf,
  nullable,
  number,
  objectOf,
  oneOf,
  report,
  text,
} from "./lax-schema.ts";
import { loggingSchema, resolveLogging, type LoggingConfig, type LoggingOptions } from "./logging-config.ts";
import { parseConfig } from "./parse-config.ts";
import {
  requestRouterSchema,
  resolveRequestRouter,
  type RequestRouterConfig,
  type RequestRouterOptions,
} from "./request-router-config.ts";

/** What Ray's `DeploymentConfig` takes, as a user gives it, keys in camelCase. */
export interface DeploymentConfigOptions {
  /** A fixed number of replicas, at least 0; `null` leaves it to the autoscaler. Default 1. */
  readonly numReplicas?: number | null | undefined;
  /** Requests one replica has at a time; more than 0. Default 5. */
  readonly maxOngoingRequests?: number | undefined;
  /** Requests that may wait for a replica; -1 for no limit, or at least 1. Default -1. */
  readonly maxQueuedRequests?: number | undefined;
  /** The answer when that limit is reached. */
  readonly backpressureConfig?: BackpressureOptions | undefined;
  /** Anything that is JSON; kept as it is. Default null. */
  readonly userConfig?: unknown;
  /** Seconds a stopping replica may still work; at least 0. Default 20. */
  readonly gracefulShutdownTimeoutS?: number | undefined;
  /** Seconds between two looks whether it is done; at least 0. Default 2. */
  readonly gracefulShutdownWaitLoopS?: number | undefined;
  /** Seconds between two health checks; more than 0. Default 10. */
  readonly healthCheckPeriodS?: number | undefined;
  /** Seconds a health check may take; more than 0. Default 30. */
  readonly healthCheckTimeoutS?: number | undefined;
  /** Autoscaling; `null` for none. Wins over `numReplicas`. Default null. */
  readonly autoscalingConfig?: AutoscalingOptions | null | undefined;
  /** Which replica serves a request. Default: power of two choices. */
  readonly requestRouterConfig?: RequestRouterOptions | undefined;
  /** Kept for export. Default null. */
  readonly version?: string | null | undefined;
  /** Logging of this deployment; `null` for that of the application. Default null. */
  readonly loggingConfig?: LoggingOptions | null | undefined;
  /** Tries to start a replica; more than 0. Default 20. */
  readonly maxConstructorRetryCount?: number | undefined;
  /** Replicas that start together. Kept for export. Default null. */
  readonly gangSchedulingConfig?: GangSchedulingOptions | null | undefined;
  /** Kept for export. Names must be unique. Default null. */
  readonly deploymentActors?: readonly DeploymentActor[] | null | undefined;
  /** The share of replicas one step of a rolling update replaces; more than 0, at most 1. Default 0.2. */
  readonly rollingUpdatePercentage?: number | undefined;
  /** Names (in Ray's spelling) of the options a user set. Ray's own bookkeeping. */
  readonly userConfiguredOptionNames?: readonly string[] | undefined;
}

/** The same with every default filled in. */
export interface DeploymentConfig {
  readonly numReplicas: number | null;
  readonly maxOngoingRequests: number;
  readonly maxQueuedRequests: number;
  readonly backpressureConfig: BackpressureConfig;
  readonly userConfig: unknown;
  readonly gracefulShutdownTimeoutS: number;
  readonly gracefulShutdownWaitLoopS: number;
  readonly healthCheckPeriodS: number;
  readonly healthCheckTimeoutS: number;
  readonly autoscalingConfig: AutoscalingConfig | null;
  readonly requestRouterConfig: RequestRouterConfig;
  readonly version: string | null;
  readonly loggingConfig: LoggingConfig | null;
  readonly maxConstructorRetryCount: number;
  readonly gangSchedulingConfig: GangSchedulingConfig | null;
  readonly deploymentActors: readonly DeploymentActor[] | null;
  readonly rollingUpdatePercentage: number;
  readonly userConfiguredOptionNames: readonly string[];
}

/** Ray's words for a wrong `max_queued_requests`. */
export const maxQueuedRequestsMessage = "max_queued_requests must be -1 (no limit) or a positive integer.";

/** True for -1 and for every positive number. */
export function isQueueLimit(value: number): boolean {
  return value === -1 || value >= 1;
}

function maxQueuedRequests(): z.ZodType<number> {
  return integer().check((context) => {
    if (isQueueLimit(context.value)) return;
    report(context, { type: "value_error", message: maxQueuedRequestsMessage });
  });
}

/** Any JSON value, kept as it is; Ray's words when it is not JSON. */
export function userConfig(): z.ZodType {
  return anything().check((context) => {
    const problem = jsonProblem(context.value);
    if (problem === undefined) return;
    report(context, { type: "value_error", message: `user_config is not JSON-serializable: ${problem}.` });
  });
}

const positive = { greaterThan: 0 } as const;
const notNegative = { atLeast: 0 } as const;

/** The fields of Ray's `DeploymentConfig`, except the two that `numReplicas: "auto"` changes. */
export const deploymentConfigShape = {
  maxOngoingRequests: integer(positive).optional(),
  maxQueuedRequests: maxQueuedRequests().optional(),
  backpressureConfig: backpressureSchema.optional(),
  userConfig: userConfig().optional(),
  gracefulShutdownTimeoutS: number(notNegative).optional(),
  gracefulShutdownWaitLoopS: number(notNegative).optional(),
  healthCheckPeriodS: number(positive).optional(),
  healthCheckTimeoutS: number(positive).optional(),
  requestRouterConfig: requestRouterSchema.optional(),
  version: nullable(text()),
  // A plain dict in Ray, so that anything else is a `dict_type` error.
  loggingConfig: nullable(z.strictObject(loggingSchema.shape)),
  maxConstructorRetryCount: integer(positive).optional(),
  gangSchedulingConfig: nullable(gangSchedulingSchema),
  deploymentActors: nullable(deploymentActors()),
  rollingUpdatePercentage: number({ greaterThan: 0, atMost: 1 }).optional(),
  userConfiguredOptionNames: listOf(text()).optional(),
};

const fixedShape = {
  numReplicas: nullable(integer(notNegative)),
  autoscalingConfig: nullable(autoscalingSchema),
  ...deploymentConfigShape,
};

const autoShape = {
  numReplicas: oneOf(["auto"]),
  autoscalingConfig: nullable(autoReplicasSchema),
  ...deploymentConfigShape,
};

/**
 * Keys that live beside Ray's `DeploymentConfig` in a dict of options (`LLMConfig.deployment_config`): let through
 * unread, because Ray reads them later.
 */
const besideShape = {
  name: anything().optional(),
  routePrefix: anything().optional(),
  rayActorOptions: anything().optional(),
  placementGroupBundles: anything().optional(),
  placementGroupStrategy: anything().optional(),
  placementGroupBundleLabelSelector: anything().optional(),
  placementGroupFallbackStrategy: anything().optional(),
  maxReplicasPerNode: anything().optional(),
};

/** Reads Ray's `DeploymentConfig`. Its output has only what was given, coerced. */
export const deploymentConfigSchema = objectOf("DeploymentConfig", { ...fixedShape, ...besideShape }).check(
  (context) => {
    for (const message of deploymentProblems(context.value))
      report(context, { type: "value_error", message });
  },
);

const autoDeploymentConfigSchema = objectOf("DeploymentConfig", { ...autoShape, ...besideShape }).check(
  (context) => {
    const options = resolveAuto(context.value);
    for (const message of deploymentProblems(options)) report(context, { type: "value_error", message });
  },
);

/** What is wrong between the fields of Ray's `DeploymentConfig`, in Ray's words. */
export function deploymentProblems(options: DeploymentConfigOptions): readonly string[] {
  const gangSize = options.gangSchedulingConfig?.gangSize;
  const numReplicas = options.numReplicas === undefined ? 1 : options.numReplicas;
  const autoscaling = options.autoscalingConfig ?? undefined;
  const problems: string[] = [];
  if (gangSize !== undefined) {
    if (autoscaling?.minReplicas === 0) {
      problems.push("Scale to zero isn't supported for gang scheduling.");
    } else if (autoscaling === undefined && numReplicas !== null && numReplicas % gangSize !== 0) {
      problems.push(`num_replicas (${numReplicas}) must be a multiple of gang_size (${gangSize}).`);
    }
  }
  const duplicates = duplicateActorsProblem(options.deploymentActors);
  return duplicates === undefined ? problems : [...problems, duplicates];
}

/** A deployment's options, and which of them a user gave. */
export interface ParsedDeploymentConfig {
  /** Every option, defaults filled in. */
  readonly config: DeploymentConfig;
  /** Only what was given, coerced. */
  readonly given: DeploymentConfigOptions;
  /** The camelCase names of what was given, before "auto" was resolved; also those beside Ray's `DeploymentConfig`, such as `name`. */
  readonly explicitlySet: ReadonlySet<string>;
}

/**
 * Reads deployment options in either spelling and fills in Ray's defaults. `numReplicas: "auto"` is resolved.
 * Keys that Ray reads elsewhere (`name`, `rayActorOptions`, `placementGroupBundles` ...) may be among them.
 *
 * @throws ConfigurationError naming every problem
 */
export function parseDeploymentConfig(input: unknown): ParsedDeploymentConfig {
  const auto = isAutoReplicas(input);
  const schema = auto ? autoDeploymentConfigSchema : deploymentConfigSchema;
  const parsed = parseConfig(schema, input, "deployment_config");
  const own = Object.fromEntries(Object.entries(parsed).filter(([key]) => !(key in besideShape)));
  const given = auto ? resolveAuto(own) : own;
  return {
    config: resolveDeploymentConfig(given),
    given,
    explicitlySet: new Set(Object.keys(parsed)),
  };
}

/** True for options with `numReplicas: "auto"`, in either spelling. */
export function isAutoReplicas(input: unknown): boolean {
  return isPlainObject(input) && (input["numReplicas"] ?? input["num_replicas"]) === "auto";
}

function resolveAuto<T extends { readonly autoscalingConfig?: AutoscalingOptions | null | undefined }>(
  options: T,
): Omit<T, "numReplicas"> & Pick<DeploymentConfigOptions, "numReplicas" | "autoscalingConfig"> {
  const autoscalingConfig = { ...autoReplicasOptions, ...options.autoscalingConfig };
  return { ...options, numReplicas: null, autoscalingConfig };
}

/** Fills in Ray's defaults. `options` must have been parsed. */
export function resolveDeploymentConfig(options: DeploymentConfigOptions): DeploymentConfig {
  const { autoscalingConfig, loggingConfig, gangSchedulingConfig } = options;
  return {
    numReplicas: options.numReplicas === undefined ? 1 : options.numReplicas,
    maxOngoingRequests: options.maxOngoingRequests ?? 5,
    maxQueuedRequests: options.maxQueuedRequests ?? -1,
    backpressureConfig: resolveBackpressure(options.backpressureConfig ?? {}),
    userConfig: options.userConfig ?? null,
    gracefulShutdownTimeoutS: options.gracefulShutdownTimeoutS ?? 20,
    gracefulShutdownWaitLoopS: options.gracefulShutdownWaitLoopS ?? 2,
    healthCheckPeriodS: options.healthCheckPeriodS ?? 10,
    healthCheckTimeoutS: options.healthCheckTimeoutS ?? 30,
    autoscalingConfig: autoscalingConfig ? resolveAutoscaling(autoscalingConfig) : null,
    requestRouterConfig: resolveRequestRouter(options.requestRouterConfig ?? {}),
    version: options.version ?? null,
    loggingConfig: loggingConfig ? resolveLogging(loggingConfig) : null,
    maxConstructorRetryCount: options.maxConstructorRetryCount ?? 20,
    gangSchedulingConfig: gangSchedulingConfig ? resolveGangScheduling(gangSchedulingConfig) : null,
    deploymentActors: options.deploymentActors ?? null,
    rollingUpdatePercentage: options.rollingUpdatePercentage ?? 0.2,
    userConfiguredOptionNames: options.userConfiguredOptionNames ?? [],
  };
}

/** A deployment's options as a Python dict would spell them; {@link parseDeploymentConfig} reads them back. */
export function exportDeploymentConfig(config: DeploymentConfig): Readonly<Record<string, unknown>> {
  return snakeCased(deploymentConfigSchema, config) as Readonly<Record<string, unknown>>;
}
