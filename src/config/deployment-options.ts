import type * as z from "zod";

import {
  autoReplicasOptions,
  autoReplicasSchema,
  autoscalingSchema,
  type AutoscalingOptions,
} from "./autoscaling-config.ts";
import { toSnakeCase } from "./casing.ts";
import {
  deploymentConfigShape,
  deploymentProblems,
  isAutoReplicas,
  resolveDeploymentConfig,
  type DeploymentConfig,
  type DeploymentConfigOptions,
} from "./deployment-config.ts";
import type { GangSchedulingOptions } from "./gang-scheduling-config.ts";
import { integer, nullable, objectOf, oneOf, reading, report, text } from "./lax-schema.ts";
import { parseConfig } from "./parse-config.ts";
import {
  refuseProblems,
  replicaProblems,
  replicaShape,
  resolveReplicaConfig,
  type ReplicaConfig,
  type ReplicaOptions,
} from "./replica-config.ts";

/**
 * What `serve.deployment(Class, options)` and `.options(options)` take. Ray's keyword arguments of
 * `@serve.deployment`, in camelCase; snake_case is accepted everywhere.
 */
export interface DeploymentOptions
  extends
    Omit<DeploymentConfigOptions, "numReplicas" | "version" | "userConfiguredOptionNames">,
    ReplicaOptions {
  /** Default: the name of the class. */
  readonly name?: string | undefined;
  /** A fixed number, more than 0; `"auto"` for 1 to 100 by load; `null` for 1. Default 1. */
  readonly numReplicas?: number | "auto" | null | undefined;
}

/** Options of a deployment, read and checked. */
export interface ParsedDeploymentOptions {
  /** `undefined` when none was given. */
  readonly name: string | undefined;
  readonly config: DeploymentConfig;
  readonly replica: ReplicaConfig;
  /** Only what was given, coerced; `numReplicas: "auto"` resolved. */
  readonly given: ResolvedOptions;
  /** The camelCase names of what was given. */
  readonly explicitlySet: ReadonlySet<string>;
}

/** Given options after `numReplicas: "auto"` became an `autoscalingConfig`. */
export type ResolvedOptions = Omit<DeploymentOptions, "numReplicas"> & {
  readonly numReplicas?: number | null | undefined;
};

/** Ray's words for a fixed number beside autoscaling. */
export const fixedAndAutoscaledMessage =
  "Manually setting num_replicas is not allowed when autoscaling_config is provided.";

function positiveReplicas(): z.ZodType<number> {
  return integer().check((context) => {
    if (context.value > 0) return;
    report(context, { type: "value_error", message: "num_replicas is expected to larger than 0" });
  });
}

function nonNullRequests(): z.ZodType<number> {
  const positive = integer({ greaterThan: 0 });
  return reading<number>((input) => {
    if (input === null) {
      return { type: "value_error", message: "`max_ongoing_requests` must be non-null, got None." };
    }
    const result = positive.safeParse(input);
    if (result.success) return { value: result.data };
    return result.error.issues.flatMap((issue) =>
      issue.code === "custom" ? [issue.params?.["problem"] as { type: string; message: string }] : [],
    );
  });
}

const { version: _version, userConfiguredOptionNames: _names, ...configShape } = deploymentConfigShape;

const optionsShape = {
  ...configShape,
  ...replicaShape,
  name: text().optional(),
  maxOngoingRequests: nonNullRequests().optional(),
};

const fixedSchema = objectOf("Deployment", {
  ...optionsShape,
  numReplicas: nullable(positiveReplicas()),
  autoscalingConfig: nullable(autoscalingSchema),
});

const autoSchema = objectOf("Deployment", {
  ...optionsShape,
  numReplicas: oneOf(["auto"]),
  autoscalingConfig: nullable(autoReplicasSchema),
});

const { rollingUpdatePercentage: _percentage, ...laterShape } = fixedSchema.shape;
const { rollingUpdatePercentage: _autoPercentage, ...laterAutoShape } = autoSchema.shape;
// Ray's `Deployment.options()` has no `rolling_update_percentage`.
const laterFixedSchema = objectOf("Deployment", laterShape);
const laterAutoSchema = objectOf("Deployment", laterAutoShape);

/**
 * Reads the options of `serve.deployment` in either spelling and fills in Ray's defaults.
 *
 * @throws ConfigurationError naming every problem, in Ray's words
 */
export function parseDeploymentOptions(input: unknown): ParsedDeploymentOptions {
  const read = isAutoReplicas(input)
    ? readAuto(parseConfig(autoSchema, input, "deployment options"))
    : readFixed(parseConfig(fixedSchema, input, "deployment options"));
  return finish(read.given, read.explicitlySet);
}

/**
 * Puts further options over a deployment's, as Ray's `.options()` does: what is given replaces what was, and
 * `numReplicas: null` changes nothing.
 *
 * @throws ConfigurationError naming every problem, in Ray's words
 */
export function withDeploymentOptions(
  before: ParsedDeploymentOptions,
  input: unknown,
): ParsedDeploymentOptions {
  const read = isAutoReplicas(input)
    ? readAuto(parseConfig(laterAutoSchema, input, "deployment options"))
    : readFixed(parseConfig(laterFixedSchema, input, "deployment options"));
  return overlayOptions(before, read.given, read.explicitlySet);
}

/** Puts parsed options over a deployment's and checks the whole. */
export function overlayOptions(
  before: ParsedDeploymentOptions,
  given: ResolvedOptions,
  explicitlySet: ReadonlySet<string>,
): ParsedDeploymentOptions {
  return finish({ ...before.given, ...given }, new Set([...before.explicitlySet, ...explicitlySet]));
}

interface ReadOptions {
  readonly given: ResolvedOptions;
  readonly explicitlySet: ReadonlySet<string>;
}

function readAuto(
  options: Omit<DeploymentOptions, "numReplicas"> & { readonly numReplicas: "auto" },
): ReadOptions {
  const { numReplicas: _auto, ...rest } = options;
  const autoscalingConfig: AutoscalingOptions = { ...autoReplicasOptions, ...rest.autoscalingConfig };
  return { given: { ...rest, autoscalingConfig }, explicitlySet: new Set(Object.keys(options)) };
}

function readFixed(options: ResolvedOptions): ReadOptions {
  if (typeof options.numReplicas === "number" && options.autoscalingConfig) {
    refuseProblems("deployment options", [fixedAndAutoscaledMessage]);
  }
  // Ray reads null as "not given", but remembers that it was.
  const { numReplicas, ...rest } = options;
  const given = typeof numReplicas === "number" ? options : rest;
  return { given, explicitlySet: new Set(Object.keys(options)) };
}

function finish(given: ResolvedOptions, explicitlySet: ReadonlySet<string>): ParsedDeploymentOptions {
  const { name, ...options } = given;
  refuseProblems("deployment options", [
    ...gangProblems(options),
    ...deploymentProblems(options),
    ...replicaProblems(options),
  ]);
  return {
    name,
    config: resolveDeploymentConfig({ ...options, userConfiguredOptionNames: rayNames(explicitlySet) }),
    replica: resolveReplicaConfig(options),
    given,
    explicitlySet,
  };
}

/** Option names in Ray's spelling, sorted. */
export function rayNames(names: Iterable<string>): readonly string[] {
  return [...names].map(toSnakeCase).sort();
}

/** Options that gang scheduling excludes, in Ray's words. */
export function gangProblems(options: {
  readonly gangSchedulingConfig?: GangSchedulingOptions | null | undefined;
  readonly maxReplicasPerNode?: number | null | undefined;
  readonly placementGroupStrategy?: string | null | undefined;
}): readonly string[] {
  if (!options.gangSchedulingConfig) return [];
  const problems: string[] = [];
  if (typeof options.maxReplicasPerNode === "number") {
    problems.push(
      "Setting max_replicas_per_node is not allowed when gang_scheduling_config is provided. " +
        "Please set max_replicas_per_node to None.",
    );
  }
  if (typeof options.placementGroupStrategy === "string") {
    problems.push(
      "Setting placement_group_strategy is not allowed when gang_scheduling_config is provided. " +
        "Use gang_scheduling_config.gang_placement_strategy instead.",
    );
  }
  return problems;
}
