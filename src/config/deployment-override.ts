import { ConfigurationError } from "../errors/configuration-error.ts";
import {
  parseAutoscalingOptions,
  resolveNumReplicasAuto,
  defaultTargetOngoingRequests,
  type AutoscalingOptions,
} from "./autoscaling-config.ts";
import type { ConfigWarning } from "./config-warning.ts";
import { overlayOptions, type ParsedDeploymentOptions } from "./deployment-options.ts";
import type { DeploymentOverride } from "./deployment-schema.ts";
import { oneOf } from "./lax-schema.ts";
import { nested, parseConfig } from "./parse-config.ts";
import type { PlacementGroupStrategy } from "./replica-config.ts";
import { requestRouterSchema } from "./request-router-config.ts";
import { mergeRuntimeEnvs, type RuntimeEnv } from "./runtime-env.ts";

/** Deployments after a Serve config file was put over them. */
export interface MergedDeployments {
  /** By name, in the order of the code. */
  readonly deployments: ReadonlyMap<string, ParsedDeploymentOptions>;
  readonly warnings: readonly ConfigWarning[];
}

/**
 * Puts the `deployments[]` of an application in a Serve config file over the options from code. What the file gives
 * replaces what code gave, option by option; environments are joined. Ray's `override_deployment_info`.
 *
 * @param code options from code, by deployment name
 * @throws ConfigurationError when the file names a deployment that is not there, or the outcome is not valid
 */
export function mergeDeploymentOptions(
  code: ReadonlyMap<string, ParsedDeploymentOptions>,
  override: {
    readonly deployments: readonly DeploymentOverride[];
    readonly runtimeEnv?: RuntimeEnv | undefined;
  },
): MergedDeployments {
  const deployments = new Map(code);
  const warnings: ConfigWarning[] = [];
  override.deployments.forEach((entry, index) => {
    const path = ["deployments", index];
    const before = deployments.get(entry.name);
    if (before === undefined) throw unknownDeployment(entry.name, path, [...code.keys()]);
    const merged = within(path, () => mergeOne(before, entry, override.runtimeEnv ?? {}));
    deployments.set(entry.name, merged);
    if (neverScales(merged)) warnings.push({ category: "log", message: neverScalesMessage });
  });
  return { deployments, warnings };
}

function mergeOne(
  before: ParsedDeploymentOptions,
  entry: DeploymentOverride,
  applicationEnv: RuntimeEnv,
): ParsedDeploymentOptions {
  const { name: _name, numReplicas, autoscalingConfig, requestRouterConfig, ...same } = entry;
  const { placementGroupStrategy, ...rest } = same;
  const given: Record<string, unknown> = { ...rest };
  if (placementGroupStrategy !== undefined) {
    given["placementGroupStrategy"] = readStrategy(placementGroupStrategy);
  }
  if (numReplicas === "auto") {
    given["autoscalingConfig"] = autoOptions(before, autoscalingConfig);
    given["numReplicas"] = null;
  } else {
    if (numReplicas !== undefined) given["numReplicas"] = numReplicas;
    if (autoscalingConfig !== undefined) {
      given["autoscalingConfig"] =
        autoscalingConfig && readAutoscaling(() => parseAutoscalingOptions(autoscalingConfig));
    }
  }
  if (requestRouterConfig !== undefined) {
    given["requestRouterConfig"] = within(["request_router_config"], () =>
      parseConfig(requestRouterSchema, requestRouterConfig, "request_router_config"),
    );
  }
  const actor = entry.rayActorOptions ?? before.given.rayActorOptions ?? {};
  const runtimeEnv = mergeRuntimeEnvs(applicationEnv, actor.runtimeEnv ?? {});
  given["rayActorOptions"] = Object.keys(runtimeEnv).length === 0 ? actor : { ...actor, runtimeEnv };
  return overlayOptions(before, given, new Set(Object.keys(entry)));
}

/** "auto" of the file: its own autoscaling options, else those from code, over the defaults of "auto". */
function autoOptions(before: ParsedDeploymentOptions, autoscalingConfig: unknown): AutoscalingOptions {
  const given = autoscalingConfig ?? before.given.autoscalingConfig ?? null;
  return readAutoscaling(() => resolveNumReplicasAuto(given));
}

function readAutoscaling(read: () => AutoscalingOptions): AutoscalingOptions {
  return within(["autoscaling_config"], read);
}

const strategySchema = oneOf(["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]);

function readStrategy(strategy: string | null): PlacementGroupStrategy | null {
  if (strategy === null) return null;
  return within(["placement_group_strategy"], () =>
    parseConfig(strategySchema, strategy, "placement_group_strategy"),
  );
}

/** Runs `read` and puts `path` before the paths of the problems it finds. */
function within<T>(path: readonly (string | number)[], read: () => T): T {
  const result = nested(read);
  if ("value" in result) return result.value;
  throw new ConfigurationError(
    "Serve config",
    result.map(({ type, message, expected, received, path: below = [] }) => ({
      path: [...path, ...below],
      type,
      message,
      expected,
      received,
    })),
  );
}

function unknownDeployment(
  name: string,
  path: readonly (string | number)[],
  known: readonly string[],
): ConfigurationError {
  const available = known.map((each) => `'${each}'`).join(", ");
  return new ConfigurationError("Serve config", [
    {
      path: [...path, "name"],
      message: `Deployment '${name}' does not exist. Available: [${available}]`,
      type: "value_error",
    },
  ]);
}

const neverScalesMessage =
  "Autoscaling will never happen, because 'max_ongoing_requests' is less than 'target_ongoing_requests' now.";

function neverScales({ config }: ParsedDeploymentOptions): boolean {
  const { autoscalingConfig, maxOngoingRequests } = config;
  if (autoscalingConfig === null) return false;
  return maxOngoingRequests < (autoscalingConfig.targetOngoingRequests ?? defaultTargetOngoingRequests);
}
