import type * as z from "zod";

import type { ConfigWarning } from "./config-warning.ts";
import { describeValue } from "./describe-value.ts";
import { readImportPath, type AnyFunction } from "./import-path.ts";
import { jsonProblem } from "./json-value.ts";
import {
  integer,
  nullable,
  number,
  objectOf,
  opaqueMap,
  reading,
  report,
  withDefault,
} from "./lax-schema.ts";
import { parseConfig } from "./parse-config.ts";

/** How points of a metric become one number. Ray's `AggregationFunction`. */
export type AggregationFunction = "mean" | "max" | "min";

/** Which policy decides, as a user gives it. Ray's `AutoscalingPolicy`. */
export interface AutoscalingPolicyOptions {
  /** A function, or the import path of Ray's default policy. Default: that one. */
  readonly policyFunction?: string | AnyFunction | undefined;
  /** Given to the policy when it is a class in Ray; kept for export. Must be JSON. Default: empty. */
  readonly policyKwargs?: Readonly<Record<string, unknown>> | undefined;
}

/** The same with every default filled in. */
export interface AutoscalingPolicyConfig {
  readonly policyFunction: string | AnyFunction;
  readonly policyKwargs: Readonly<Record<string, unknown>>;
}

/** Autoscaling options as a user gives them. Ray's `AutoscalingConfig`, keys in camelCase. */
export interface AutoscalingOptions {
  /** At least 0, which allows scaling to zero. Default 1. */
  readonly minReplicas?: number | undefined;
  /** Replicas of the first deploy, between the other two; `null` for the minimum. Default null. */
  readonly initialReplicas?: number | null | undefined;
  /** More than 0. Default 1, or 100 under `numReplicas: "auto"`. */
  readonly maxReplicas?: number | undefined;
  /** Requests queued and running that one replica should have; more than 0, `null` for the default. Default 2. */
  readonly targetOngoingRequests?: number | null | undefined;
  /** Seconds between two metrics reports. Default 10. Deprecated by Ray. */
  readonly metricsIntervalS?: number | undefined;
  /** Seconds of metrics that count. Default 30. */
  readonly lookBackPeriodS?: number | undefined;
  /** Deprecated by Ray. Default 1. */
  readonly smoothingFactor?: number | undefined;
  /** Deprecated by Ray: `upscalingFactor`. */
  readonly upscaleSmoothingFactor?: number | null | undefined;
  /** Deprecated by Ray: `downscalingFactor`. */
  readonly downscaleSmoothingFactor?: number | null | undefined;
  /** The share of the way up one decision goes; more than 0, `null` for 1. */
  readonly upscalingFactor?: number | null | undefined;
  /** The share of the way down one decision goes; more than 0, `null` for 1. */
  readonly downscalingFactor?: number | null | undefined;
  /** Seconds the load must be low before replicas go. Default 600. */
  readonly downscaleDelayS?: number | undefined;
  /** The same for the step from one to none; `null` for `downscaleDelayS`. Default null. */
  readonly downscaleToZeroDelayS?: number | null | undefined;
  /** Seconds the load must be high before replicas come. Default 30. */
  readonly upscaleDelayS?: number | undefined;
  /** Default `mean`; case does not matter. */
  readonly aggregationFunction?: AggregationFunction | undefined;
  /** Who decides how many replicas there are. Default: Ray's default policy. */
  readonly policy?: AutoscalingPolicyOptions | undefined;
}

/** Autoscaling options with every default filled in. */
export interface AutoscalingConfig {
  readonly minReplicas: number;
  readonly initialReplicas: number | null;
  readonly maxReplicas: number;
  readonly targetOngoingRequests: number | null;
  readonly metricsIntervalS: number;
  readonly lookBackPeriodS: number;
  readonly smoothingFactor: number;
  readonly upscaleSmoothingFactor: number | null;
  readonly downscaleSmoothingFactor: number | null;
  readonly upscalingFactor: number | null;
  readonly downscalingFactor: number | null;
  readonly downscaleDelayS: number;
  readonly downscaleToZeroDelayS: number | null;
  readonly upscaleDelayS: number;
  readonly aggregationFunction: AggregationFunction;
  readonly policy: AutoscalingPolicyConfig;
}

/** Ray's `DEFAULT_TARGET_ONGOING_REQUESTS`. */
export const defaultTargetOngoingRequests = 2;

const defaultPolicyFunction = "ray.serve.autoscaling_policy:default_autoscaling_policy";

const autoscalingDefaults: AutoscalingConfig = {
  minReplicas: 1,
  initialReplicas: null,
  maxReplicas: 1,
  targetOngoingRequests: defaultTargetOngoingRequests,
  metricsIntervalS: 10,
  lookBackPeriodS: 30,
  smoothingFactor: 1,
  upscaleSmoothingFactor: null,
  downscaleSmoothingFactor: null,
  upscalingFactor: null,
  downscalingFactor: null,
  downscaleDelayS: 600,
  downscaleToZeroDelayS: null,
  upscaleDelayS: 30,
  aggregationFunction: "mean",
  policy: { policyFunction: defaultPolicyFunction, policyKwargs: {} },
};

const aggregationFunctions: readonly AggregationFunction[] = ["mean", "max", "min"];

function aggregationFunction(): z.ZodType<AggregationFunction> {
  return reading((input) => {
    const found =
      typeof input === "string"
        ? aggregationFunctions.find((name) => name === input.toLowerCase())
        : undefined;
    if (found !== undefined) return { value: found };
    const given = typeof input === "string" ? input.toLowerCase() : describeValue(input, []);
    return { type: "value_error", message: `'${given}' is not a valid AggregationFunction` };
  });
}

const policyModule = "ray.serve.autoscaling_policy";
const policyNames = new Set(["default_autoscaling_policy", "replica_queue_length_autoscaling_policy"]);

function policyFunction(): z.ZodType<string | AnyFunction> {
  return reading<string | AnyFunction>((input) => {
    if (typeof input === "function") return { value: input as AnyFunction };
    if (typeof input !== "string") {
      return {
        type: "string_type",
        message: "Input should be a valid string",
        expected: "a function or an import path",
      };
    }
    const path = readImportPath(input);
    if (path?.module === policyModule && policyNames.has(path.name)) return { value: input };
    return {
      type: "value_error",
      message: `There is no autoscaling policy "${input}"; Python code does not run here`,
      expected: `a function, or "${defaultPolicyFunction}"`,
    };
  });
}

function policyKwargs(): z.ZodType<Readonly<Record<string, unknown>>> {
  return opaqueMap().check((context) => {
    const problem = jsonProblem(context.value);
    if (problem !== undefined) {
      report(context, {
        type: "value_error",
        message: `policy_kwargs is not JSON-serializable: ${problem}.`,
      });
    }
  });
}

/** Reads Ray's `AutoscalingPolicy`. Its output names the function even when the input did not, as Ray's does. */
export const autoscalingPolicySchema = objectOf("AutoscalingPolicy", {
  policyFunction: withDefault(policyFunction(), defaultPolicyFunction),
  policyKwargs: policyKwargs().optional(),
});

const positive = { greaterThan: 0 } as const;
const notNegative = { atLeast: 0 } as const;

const autoscalingShape = {
  minReplicas: integer(notNegative).optional(),
  initialReplicas: nullable(integer(notNegative)),
  maxReplicas: integer(positive).optional(),
  targetOngoingRequests: nullable(number(positive)),
  metricsIntervalS: number(positive).optional(),
  lookBackPeriodS: number(positive).optional(),
  smoothingFactor: number(positive).optional(),
  upscaleSmoothingFactor: nullable(number(positive)),
  downscaleSmoothingFactor: nullable(number(positive)),
  upscalingFactor: nullable(number(positive)),
  downscalingFactor: nullable(number(positive)),
  downscaleDelayS: number(notNegative).optional(),
  downscaleToZeroDelayS: nullable(number(notNegative)),
  upscaleDelayS: number(notNegative).optional(),
  aggregationFunction: aggregationFunction().optional(),
  policy: autoscalingPolicySchema.optional(),
};

/** Reads Ray's `AutoscalingConfig`. Its output has only what was given, coerced. */
export const autoscalingSchema = autoscalingSchemaOver({});

/** What `numReplicas: "auto"` stands for. Ray's `AutoscalingConfig.default()`. */
export const autoReplicasOptions: AutoscalingOptions = {
  minReplicas: 1,
  maxReplicas: 100,
  targetOngoingRequests: defaultTargetOngoingRequests,
};

/** As {@link autoscalingSchema}, for options that are put over those of `numReplicas: "auto"`. */
export const autoReplicasSchema = autoscalingSchemaOver(autoReplicasOptions);

function autoscalingSchemaOver(base: AutoscalingOptions) {
  return objectOf("AutoscalingConfig", autoscalingShape).check((context) => {
    const message = replicaCountProblem(resolveAutoscaling({ ...base, ...context.value }));
    if (message !== undefined) report(context, { type: "value_error", message });
  });
}

function replicaCountProblem(config: AutoscalingConfig): string | undefined {
  const { minReplicas, initialReplicas, maxReplicas } = config;
  if (maxReplicas < minReplicas) {
    return `max_replicas (${maxReplicas}) must be greater than or equal to min_replicas (${minReplicas})!`;
  }
  if (initialReplicas === null) return undefined;
  if (initialReplicas < minReplicas) {
    return `min_replicas (${minReplicas}) must be less than or equal to initial_replicas (${initialReplicas})!`;
  }
  if (initialReplicas > maxReplicas) {
    return `max_replicas (${maxReplicas}) must be greater than or equal to initial_replicas (${initialReplicas})!`;
  }
  return undefined;
}

/**
 * Reads autoscaling options in either spelling and fills in Ray's defaults.
 *
 * @throws ConfigurationError naming every problem
 */
export function parseAutoscalingConfig(input: unknown): AutoscalingConfig {
  return resolveAutoscaling(parseAutoscalingOptions(input));
}

/**
 * Reads autoscaling options in either spelling: what was given, coerced, and nothing else.
 *
 * @throws ConfigurationError naming every problem
 */
export function parseAutoscalingOptions(input: unknown): AutoscalingOptions {
  return parseConfig(autoscalingSchema, input, "autoscaling_config");
}

/**
 * Reads a policy alone, as `applications[].autoscaling_policy` has it.
 *
 * @throws ConfigurationError naming every problem
 */
export function parseAutoscalingPolicy(input: unknown): AutoscalingPolicyConfig {
  const { policyFunction, policyKwargs = {} } = parseConfig(
    autoscalingPolicySchema,
    input,
    "autoscaling_policy",
  );
  return { policyFunction, policyKwargs };
}

/** Fills in Ray's defaults. `options` must have been parsed. */
export function resolveAutoscaling(options: AutoscalingOptions): AutoscalingConfig {
  const policy = { ...autoscalingDefaults.policy, ...options.policy };
  return { ...autoscalingDefaults, ...options, policy } as AutoscalingConfig;
}

/**
 * The options that `numReplicas: "auto"` stands for: 1 to 100 replicas of 2 requests each, and over them what was
 * given. Ray's `handle_num_replicas_auto`.
 *
 * @param given an `autoscalingConfig`, or null when there is none
 * @throws ConfigurationError when `given` does not fit, for example a minimum above 100
 */
export function resolveNumReplicasAuto(given: unknown): AutoscalingOptions {
  if (given === null || given === undefined) return autoReplicasOptions;
  return { ...autoReplicasOptions, ...parseConfig(autoReplicasSchema, given, "autoscaling_config") };
}

/** What a user should know of options that were accepted. */
export function autoscalingWarnings(options: AutoscalingOptions): readonly ConfigWarning[] {
  const { metricsIntervalS, lookBackPeriodS } = resolveAutoscaling(options);
  const warnings: ConfigWarning[] = [];
  if (metricsIntervalS !== autoscalingDefaults.metricsIntervalS) {
    warnings.push({ category: "DeprecationWarning", message: metricsIntervalDeprecated });
  }
  // As Ray, judge only a look-back period that was given.
  if (options.lookBackPeriodS !== undefined && lookBackPeriodS <= metricsIntervalS) {
    warnings.push({
      category: "FutureWarning",
      message:
        `\`look_back_period_s\` (${asPythonFloat(lookBackPeriodS)}) must be greater than ` +
        `\`metrics_interval_s\` (${asPythonFloat(metricsIntervalS)}). This will raise an exception in a ` +
        "future release. Please set `look_back_period_s` > `metrics_interval_s`.",
    });
  }
  return warnings;
}

const metricsIntervalDeprecated =
  "The `metrics_interval_s` field in AutoscalingConfig is deprecated and will be replaced by the environment " +
  "variables `RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S` and " +
  "`RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S` in a future release.";

function asPythonFloat(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
