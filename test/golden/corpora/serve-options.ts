import { parse as parseYaml } from "yaml";
import type * as z from "zod";

import { downscalingFactor, upscalingFactor } from "../../../src/autoscaling/autoscaling-policy.ts";
import {
  autoscalingSchema,
  autoscalingWarnings,
  parseAutoscalingConfig,
  parseAutoscalingOptions,
  resolveAutoscaling,
  resolveNumReplicasAuto,
} from "../../../src/config/autoscaling-config.ts";
import { backpressureSchema, resolveBackpressure } from "../../../src/config/backpressure-config.ts";
import { snakeCased } from "../../../src/config/casing.ts";
import {
  deploymentConfigSchema,
  isAutoReplicas,
  parseDeploymentConfig,
  type DeploymentConfig,
} from "../../../src/config/deployment-config.ts";
import {
  parseDeploymentOptions,
  rayNames,
  withDeploymentOptions,
  type ParsedDeploymentOptions,
} from "../../../src/config/deployment-options.ts";
import { mergeDeploymentOptions } from "../../../src/config/deployment-override.ts";
import {
  deploymentSchema,
  rayActorOptionsSchema,
  type DeploymentOverride,
} from "../../../src/config/deployment-schema.ts";
import {
  gangSchedulingSchema,
  resolveGangScheduling,
  type GangSchedulingOptions,
} from "../../../src/config/gang-scheduling-config.ts";
import { loggingSchema, resolveLogging } from "../../../src/config/logging-config.ts";
import { parseConfig } from "../../../src/config/parse-config.ts";
import { rayActorShape } from "../../../src/config/replica-config.ts";
import { requestRouterSchema, resolveRequestRouter } from "../../../src/config/request-router-config.ts";
import { validateRoutePrefix } from "../../../src/config/route-prefix.ts";
import {
  grpcOptionsSchema,
  httpOptionsSchema,
  parseServeApplicationConfig,
  resolveGrpcOptions,
  resolveHttpOptions,
  resolveServeApplication,
  resolveServeDeploy,
  serveApplicationSchema,
  serveDeploySchema,
  type ServeApplicationConfig,
} from "../../../src/config/serve-deploy-schema.ts";
import { accepted, attempt, refused, same, sameError, type Outcome, type RecordedError } from "../compare.ts";
import { checkDeviation, forDefect, type Deviation } from "../deviations.ts";
import type { GoldenCase } from "../golden-case.ts";

/** Checks one case of `serve-options.jsonl`; throws when the library does something else than was recorded. */
export function check(kase: GoldenCase): void {
  const expected = kase.expect as Expected;
  const outcome = attempt(() => run(withoutInstances(kase.input) as Input));
  if (checkDeviation(deviations, kase, outcome)) return;
  if (!expected.ok) {
    sameError(outcome, withoutCallables(expected as unknown as RecordedError));
    return;
  }
  checkResults(accepted(outcome), expected);
}

const deviations: readonly Deviation<Outcome<Json>>[] = [
  forDefect(/unknown keys|old name/, "a key nobody reads is an error", (outcome) =>
    refused(outcome, /Extra inputs are not permitted/),
  ),
  forDefect(
    /a raw Python \w+ escapes/,
    "every refusal is a ConfigurationError that names the field",
    (outcome) =>
      refused(outcome, /There is no (?:request router|autoscaling policy)|Extra inputs are not permitted/),
  ),
  forDefect(
    /args errors appear only when the application is built/,
    "the schema hands them on as written; the builder reads them itself (corpus pd-serving-args)",
    (outcome, kase) => checkResults(accepted(outcome), kase.expect as Expected),
  ),
];

function checkResults(actual: Json, expected: Expected): void {
  const { ok: _ok, ...results } = expected;
  for (const [key, value] of Object.entries(results)) {
    if (key === "warnings") checkWarnings(actual[key], value);
    else if (key === "log_warnings") checkLog(actual[key], value);
    else same(actual[key], value, key);
  }
}

/** "Or a callable" is the other member of a union; the problem with the string says it all. */
function withoutCallables(recorded: RecordedError): RecordedError {
  const errors = recorded.errors?.filter((problem) => problem.loc.at(-1) !== "callable");
  return errors === undefined ? recorded : { ...recorded, errors };
}

type Json = Readonly<Record<string, unknown>>;

interface Expected extends Json {
  readonly ok: boolean;
}

interface Input {
  readonly class?: string;
  readonly args?: unknown;
  readonly yaml?: string;
  readonly decorator?: Json;
  readonly options?: Json;
  readonly auto?: { readonly autoscaling_config?: unknown };
  readonly code?: Readonly<Record<string, Json>>;
  readonly override?: Json;
  readonly route_prefix?: string | null;
}

function fail(what: string, expected: unknown, actual: unknown): never {
  throw new Error(`${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`);
}

function checkWarnings(actual: unknown, expected: unknown): void {
  const given = actual as readonly { readonly category: string; readonly message: string }[];
  const wanted = expected as readonly { readonly category: string; readonly message_contains: string }[];
  const same = (at: number) =>
    given[at]?.category === wanted[at]?.category &&
    given[at]?.message.includes(wanted[at]?.message_contains ?? "\0");
  if (given.length !== wanted.length || !wanted.every((_, at) => same(at)))
    fail("warnings", expected, actual);
}

function checkLog(actual: unknown, expected: unknown): void {
  const given = JSON.stringify(actual ?? []);
  const wanted = (expected as readonly unknown[]).map((each) => JSON.stringify(each).slice(1, -1));
  if (!wanted.every((words) => given.includes(words))) fail("logged warnings", expected, actual);
}

function run(input: Input): Json {
  if (input.class !== undefined) {
    const value: unknown = input.yaml === undefined ? input.args : parseYaml(input.yaml);
    return runClass(input.class, value);
  }
  if (input.decorator !== undefined) return runDecorator(input.decorator, input.options);
  if (input.auto !== undefined) {
    const options = resolveNumReplicasAuto(input.auto.autoscaling_config);
    return { autoscaling_config: snakeCased(autoscalingSchema, resolveAutoscaling(options)) };
  }
  if (input.code !== undefined) return runOverride(input.code, input.override ?? {});
  validateRoutePrefix(input.route_prefix ?? null);
  return {};
}

/** Parses, and gives the dump with defaults and the dump of what was set. */
function dumped<S extends z.ZodType>(
  schema: S,
  input: unknown,
  resolve: (options: z.output<S>) => unknown,
): Json {
  const options = parseConfig(schema, input, "options");
  return {
    dump: snakeCased(schema, resolve(options)),
    explicitly_set: snakeCased(schema, options),
  };
}

function runClass(name: string, input: unknown): Json {
  switch (name) {
    case "AutoscalingConfig": {
      const config = parseAutoscalingConfig(input);
      return {
        ...dumped(autoscalingSchema, input, resolveAutoscaling),
        upscaling_factor: upscalingFactor(config),
        downscaling_factor: downscalingFactor(config),
        target: config.targetOngoingRequests,
        warnings: autoscalingWarnings(parseAutoscalingOptions(input)),
      };
    }
    case "RequestRouterConfig":
      return dumped(requestRouterSchema, input, resolveRequestRouter);
    case "GangSchedulingConfig":
      return dumped(gangSchedulingSchema, input, (options: GangSchedulingOptions) =>
        resolveGangScheduling(options),
      );
    case "LoggingConfig":
      return dumped(loggingSchema, input, resolveLogging);
    case "BackpressureConfig":
      return dumped(backpressureSchema, input, resolveBackpressure);
    case "HTTPOptionsSchema":
      return dumped(httpOptionsSchema, input, resolveHttpOptions);
    case "gRPCOptionsSchema":
      return dumped(grpcOptionsSchema, input, resolveGrpcOptions);
    case "RayActorOptionsSchema":
      return dumped(rayActorOptionsSchema, input, dumpActorOptions);
    case "DeploymentConfig":
      return runDeploymentConfig(input);
    case "DeploymentSchema": {
      const options = parseConfig(deploymentSchema, input, "options");
      return {
        dump: dumpDeployment(options),
        explicitly_set: snakeCased(deploymentSchema, options),
        user_configured_option_names: rayNames(Object.keys(options)),
      };
    }
    case "ServeApplicationSchema":
      return {
        ...dumped(serveApplicationSchema, input, resolveServeApplication),
        dump: dumpApplication(parseServeApplicationConfig(input)),
      };
    case "ServeDeploySchema": {
      const options = parseConfig(serveDeploySchema, input, "options");
      const resolved = resolveServeDeploy(options);
      return {
        dump: {
          ...(snakeCased(serveDeploySchema, resolved) as Json),
          applications: resolved.applications.map(dumpApplication),
        },
        explicitly_set: snakeCased(serveDeploySchema, options),
      };
    }
    default:
      throw new Error(`no schema is called ${name}`);
  }
}

function runDeploymentConfig(input: unknown): Json {
  // Ray's own class does not know "auto": that is resolved before.
  if (isAutoReplicas(input)) parseConfig(deploymentConfigSchema, input, "options");
  const { config, given } = parseDeploymentConfig(input);
  // Ray turns this one field into a full dump of itself.
  const explicit = given.loggingConfig ? { ...given, loggingConfig: config.loggingConfig } : given;
  return { dump: dumpConfig(config), explicitly_set: snakeCased(deploymentConfigSchema, explicit) };
}

function dumpConfig(config: DeploymentConfig): unknown {
  return snakeCased(deploymentConfigSchema, config);
}

/** Ray's dump has every field, with null or nothing for those that were not given. */
function dumpActorOptions(options: Readonly<Record<string, unknown>>): Json {
  const empty = Object.fromEntries(Object.keys(rayActorShape).map((key) => [key, null]));
  return { ...empty, runtimeEnv: {}, resources: {}, ...options };
}

/** Options equal to Serve's "not given" sentinel are left out, but its models leave an empty object. */
function dumpDeployment(options: DeploymentOverride): Json {
  const dump: Record<string, unknown> = { ...options };
  if (options.backpressureConfig)
    dump["backpressureConfig"] = resolveBackpressure(options.backpressureConfig);
  if (options.rayActorOptions) dump["rayActorOptions"] = dumpActorOptions({ ...options.rayActorOptions });
  if (options.loggingConfig) dump["loggingConfig"] = resolveLogging(options.loggingConfig);
  if (options.gangSchedulingConfig) {
    dump["gangSchedulingConfig"] = resolveGangScheduling(options.gangSchedulingConfig);
  }
  return {
    backpressure_config: {},
    ray_actor_options: {},
    logging_config: {},
    ...(snakeCased(deploymentSchema, dump) as Json),
  };
}

function dumpApplication(application: ServeApplicationConfig): Json {
  return {
    ...(snakeCased(serveApplicationSchema, application) as Json),
    deployments: application.deployments.map(dumpDeployment),
  };
}

function runDecorator(decorator: Json, options: Json | undefined): Json {
  const first = parseDeploymentOptions(decorator);
  const parsed = options === undefined ? first : withDeploymentOptions(first, options);
  return { name: parsed.name ?? "D", ...dumpParsed(parsed) };
}

function runOverride(code: Readonly<Record<string, Json>>, override: Json): Json {
  const parsed = new Map(
    Object.entries(code).map(
      ([name, options]) => [name, parseDeploymentOptions({ name, ...options })] as const,
    ),
  );
  const { deployments, warnings } = mergeDeploymentOptions(parsed, parseServeApplicationConfig(override));
  return {
    log_warnings: warnings.map((warning) => warning.message),
    deployments: Object.fromEntries(
      [...deployments].map(([name, each]) => {
        const { placement_group_strategy: _strategy, ...dump } = dumpParsed(each);
        return [name, dump];
      }),
    ),
  };
}

function dumpParsed({ config, replica }: ParsedDeploymentOptions): Json {
  return {
    deployment_config: dumpConfig(config),
    ray_actor_options: snakeCased(rayActorOptionsSchema, replica.rayActorOptions),
    placement_group_bundles: replica.placementGroupBundles,
    placement_group_strategy: replica.placementGroupStrategy,
    max_replicas_per_node: replica.maxReplicasPerNode,
  };
}

/** Instances of Ray's classes become what they were made from. */
function withoutInstances(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(withoutInstances);
  if ("$AutoscalingConfig" in value) return withoutInstances(value.$AutoscalingConfig);
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, withoutInstances(part)]));
}
