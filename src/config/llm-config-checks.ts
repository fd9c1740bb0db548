import type { ConfigIssue } from "../errors/configuration-error.ts";
import { acceleratorConflict, type AcceleratorConfig, bundlesKind } from "./accelerators.ts";
import { describeValue } from "./describe-value.ts";
import { engineArgumentProblems } from "./engine-config.ts";
import type { LLMDeploymentOptions } from "./llm-config-init.ts";
import type { ScalingTarget } from "./scaling-target.ts";
import type { ScalingTargetSource } from "./scaling-target-source.ts";
import { namedBundles, noBundlesMessage, type PlacementGroupConfig } from "./placement-group-config.ts";

/** The fields of an LLMConfig that depend on each other. */
export interface CheckedConfig {
  readonly logEngineMetrics: boolean | undefined;
  readonly engineKwargs: Readonly<Record<string, unknown>>;
  readonly acceleratorType: string | undefined;
  readonly acceleratorConfig: AcceleratorConfig;
  readonly deploymentConfig: LLMDeploymentOptions;
  readonly placementGroupConfig: PlacementGroupConfig | undefined;
}

/** Problems between fields, and within the engine's arguments; paths in camelCase. */
export function configProblems(config: CheckedConfig): readonly ConfigIssue[] {
  const problems: ConfigIssue[] = [];
  const refuse = (path: readonly string[], message: string, received?: string): void => {
    problems.push({ path, type: "value_error", message, received });
  };
  if (config.logEngineMetrics === true && isTruthy(config.engineKwargs["disable_log_stats"])) {
    refuse(
      ["engineKwargs", "disable_log_stats"],
      "disable_log_stats cannot be set to True when log_engine_metrics is enabled. " +
        "Engine metrics require log stats to be enabled.",
    );
  }
  const conflict = acceleratorConflict(config.acceleratorType, config.acceleratorConfig);
  if (conflict !== undefined) refuse(["acceleratorType"], conflict);
  const { numReplicas, autoscalingConfig } = config.deploymentConfig;
  if (numReplicas !== undefined && numReplicas !== null && numReplicas !== "auto" && autoscalingConfig) {
    refuse(
      ["deploymentConfig"],
      "Invalid deployment config: Manually setting num_replicas is not allowed when autoscaling_config is provided.",
    );
  }
  for (const { key, message } of engineArgumentProblems(config.engineKwargs)) {
    refuse(["engineKwargs", key], message, describeValue(config.engineKwargs[key], [key]));
  }
  const size: unknown = config.engineKwargs["data_parallel_size"] ?? 1;
  if (typeof size !== "number" || !Number.isInteger(size) || size < 1) {
    refuse(
      ["engineKwargs", "data_parallel_size"],
      `Invalid data_parallel_size: ${asWritten(size)}, expecting positive integer.`,
    );
  }
  return problems;
}

/** What of a configuration's resources does not go together, but is accepted as Ray accepts it. */
export function resourceNotes(config: CheckedConfig): readonly string[] {
  const notes: string[] = [];
  const group = config.placementGroupConfig;
  if (group === undefined) return notes;
  const bundles = namedBundles(group);
  if (bundles.length === 0 && group.bundles === undefined) notes.push(noBundlesMessage);
  const asked = bundlesKind(bundles);
  const { kind } = config.acceleratorConfig;
  if (bundles.length > 0 && asked !== kind) {
    notes.push(
      `accelerator_config says "${kind}", but the bundles of placement_group_config ask for "${asked}"; ` +
        "the former is taken",
    );
  }
  if (group.bundles !== undefined && group.bundles.length > 0) {
    const devices = numDevicesOf(config.engineKwargs);
    if (devices !== group.bundles.length) {
      notes.push(
        `placement_group_config has ${group.bundles.length} bundles, but the engine has ${devices} devices ` +
          "(tensor_parallel_size * pipeline_parallel_size)",
      );
    }
  }
  return notes;
}

function numDevicesOf(kwargs: Readonly<Record<string, unknown>>): number {
  return Number(kwargs["tensor_parallel_size"] ?? 1) * Number(kwargs["pipeline_parallel_size"] ?? 1);
}

/** What a configuration says about the number of its engines, when nothing here could start or stop one. */
export function scalingNotes(config: {
  readonly deploymentConfig: LLMDeploymentOptions;
  readonly scalingTarget: ScalingTarget | ScalingTargetSource | undefined;
}): readonly string[] {
  if (config.scalingTarget !== undefined) return [];
  const { autoscalingConfig, numReplicas } = config.deploymentConfig;
  if ((autoscalingConfig ?? null) === null && numReplicas !== "auto") return [];
  const option = numReplicas === "auto" ? 'num_replicas "auto"' : "autoscaling_config";
  return [
    `deployment_config: ${option} has no effect without a scalingTarget, which starts and stops engines; it is kept for export`,
  ];
}

/** A value as its author wrote it, shortened. */
function asWritten(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? typeof value);
  return text.length <= 40 ? text : `${text.slice(0, 39)}…`;
}

/** What Python takes for true: engine arguments may be anything. */
function isTruthy(value: unknown): boolean {
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}
