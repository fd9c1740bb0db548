import type * as z from "zod";

import { snakeCased } from "./casing.ts";
import { deploymentSchema, type DeploymentOverride } from "./deployment-schema.ts";
import { importPathProblem } from "./import-path.ts";
import {
  boolean,
  integer,
  listOf,
  mapOf,
  nullable,
  number,
  objectOf,
  oneOf,
  opaqueMap,
  report,
  text,
} from "./lax-schema.ts";
import { loggingSchema, resolveLogging, type LoggingConfig } from "./logging-config.ts";
import { parseConfig } from "./parse-config.ts";
import { remoteRuntimeEnvSchema, type RuntimeEnv } from "./runtime-env.ts";

/** Where Ray runs HTTP proxies. There is one process here; `Disabled` means no HTTP server of our own. */
export type ProxyLocation = "Disabled" | "HeadOnly" | "EveryNode";

/** The HTTP server of a Serve config file. Ray's `HTTPOptionsSchema`. */
export interface HttpOptions {
  /** Default `0.0.0.0`. */
  readonly host: string;
  /** Default 8000. */
  readonly port: number;
  /** Path all routes are below. Default empty. */
  readonly rootPath: string;
  /** Seconds a whole request may take; `null` for no limit. Default null. */
  readonly requestTimeoutS: number | null;
  /** Seconds an idle connection is kept. Default 90. */
  readonly keepAliveTimeoutS: number;
  readonly sslKeyfile: string | null;
  readonly sslCertfile: string | null;
  readonly sslKeyfilePassword: string | null;
  readonly sslCaCerts: string | null;
}

/** Ray's `gRPCOptionsSchema`; kept for export. */
export interface GrpcOptions {
  readonly port: number;
  readonly grpcServicerFunctions: readonly string[];
  readonly requestTimeoutS: number | null;
}

/** One application of a Serve config file. Ray's `ServeApplicationSchema`, defaults filled in. */
export interface ServeApplicationConfig {
  /** Unique in its file. Default `default`. */
  readonly name: string;
  /** `null` for no HTTP; checked when it is applied. Default `/`. */
  readonly routePrefix: string | null;
  /** The builder, for example `ray.serve.llm:build_pd_openai_app`. */
  readonly importPath: string;
  readonly runtimeEnv: RuntimeEnv;
  /** Ray's leftovers: refused in a {@link ServeDeployConfig}. */
  readonly host: string;
  readonly port: number;
  /** Options over those from code, by deployment. */
  readonly deployments: readonly DeploymentOverride[];
  /** A policy for all deployments together, as written. */
  readonly autoscalingPolicy: Readonly<Record<string, unknown>> | null;
  /** Given to the builder, as written. */
  readonly args: Readonly<Record<string, unknown>>;
  readonly loggingConfig: LoggingConfig | null;
  /** Whether something else sets the number of replicas. Default false. */
  readonly externalScalerEnabled: boolean;
}

/** A Serve config file. Ray's `ServeDeploySchema`, defaults filled in. */
export interface ServeDeployConfig {
  /** Default `EveryNode`. */
  readonly proxyLocation: ProxyLocation;
  readonly httpOptions: HttpOptions;
  readonly grpcOptions: GrpcOptions;
  readonly controllerOptions: { readonly runtimeEnv?: RuntimeEnv | undefined } | null;
  /** Default of the applications' `loggingConfig`. */
  readonly loggingConfig: LoggingConfig | null;
  readonly applications: readonly ServeApplicationConfig[];
  /** Percent of the replicas that may be used, 0 to 100; `null` for all. */
  readonly targetCapacity: number | null;
}

/** Reads Ray's `HTTPOptionsSchema`. */
export const httpOptionsSchema = objectOf("HTTPOptionsSchema", {
  host: text().optional(),
  port: integer().optional(),
  rootPath: text().optional(),
  requestTimeoutS: nullable(number()),
  keepAliveTimeoutS: integer().optional(),
  sslKeyfile: nullable(text()),
  sslCertfile: nullable(text()),
  sslKeyfilePassword: nullable(text()),
  sslCaCerts: nullable(text()),
});

/** Reads Ray's `gRPCOptionsSchema`. */
export const grpcOptionsSchema = objectOf("gRPCOptionsSchema", {
  port: integer().optional(),
  grpcServicerFunctions: listOf(text()).optional(),
  requestTimeoutS: nullable(number()),
});

const controllerOptionsSchema = objectOf("ControllerOptions", {
  runtimeEnv: objectOf("runtime_env", { envVars: mapOf(text()).optional() }).optional(),
});

function importPath(): z.ZodType<string> {
  return text().check((context) => {
    const message = importPathProblem(context.value);
    if (message !== undefined) report(context, { type: "value_error", message });
  });
}

/** Reads Ray's `ServeApplicationSchema`. Its output has only what was given, coerced. */
export const serveApplicationSchema = objectOf("ServeApplicationSchema", {
  name: text().optional(),
  routePrefix: nullable(text()),
  importPath: importPath(),
  runtimeEnv: remoteRuntimeEnvSchema.optional(),
  host: text().optional(),
  port: integer().optional(),
  deployments: listOf(deploymentSchema).optional(),
  autoscalingPolicy: nullable(opaqueMap()),
  args: opaqueMap().optional(),
  loggingConfig: nullable(loggingSchema),
  externalScalerEnabled: boolean().optional(),
}).check((context) => {
  const { externalScalerEnabled, deployments = [] } = context.value;
  if (externalScalerEnabled !== true) return;
  const autoscaled = deployments
    .filter((each) => each.numReplicas === "auto" || Boolean(each.autoscalingConfig))
    .map((each) => `"${each.name}"`);
  if (autoscaled.length === 0) return;
  report(context, {
    type: "value_error",
    message:
      "external_scaler_enabled is set to True, but the following deployment(s) have autoscaling configured: " +
      `${autoscaled.join(", ")}. When using an external autoscaler, Serve's built-in autoscaling must be ` +
      "disabled for all deployments in the application.",
  });
});

/** What {@link serveApplicationSchema} gives: only what was given. */
export type ServeApplicationOptions = z.output<typeof serveApplicationSchema>;

function applications() {
  return listOf(serveApplicationSchema).check((context) => {
    const message = applicationsProblem(context.value);
    if (message !== undefined) report(context, { type: "value_error", message });
  });
}

function applicationsProblem(given: readonly ServeApplicationOptions[]): string | undefined {
  const names = given.map((each) => each.name ?? defaultName);
  const name = names.find((each, index) => names.indexOf(each) !== index);
  if (name !== undefined) {
    return `Found multiple configs for application "${name}". Please remove all duplicates.`;
  }
  const routes = given.map((each) => (each.routePrefix === undefined ? "/" : each.routePrefix));
  const route = routes.find((each, index) => each !== null && routes.indexOf(each) !== index);
  if (route !== undefined) {
    return (
      `Found duplicate applications for route prefix "${route}". ` +
      "Please ensure each application's route_prefix is unique."
    );
  }
  return names.includes("") ? "Application names must be nonempty." : undefined;
}

/** Reads Ray's `ServeDeploySchema`. Its output has only what was given, coerced. */
export const serveDeploySchema = objectOf("ServeDeploySchema", {
  proxyLocation: oneOf(["Disabled", "HeadOnly", "EveryNode"], "enum").optional(),
  httpOptions: httpOptionsSchema.optional(),
  grpcOptions: grpcOptionsSchema.optional(),
  controllerOptions: nullable(controllerOptionsSchema),
  loggingConfig: nullable(loggingSchema),
  applications: applications(),
  targetCapacity: nullable(number({ atLeast: 0, atMost: 100 })),
}).check((context) => {
  const message = addressProblem(context.value.applications);
  if (message !== undefined) report(context, { type: "value_error", message });
});

/** What {@link serveDeploySchema} gives: only what was given. */
export type ServeDeployOptions = z.output<typeof serveDeploySchema>;

function addressProblem(given: readonly ServeApplicationOptions[]): string | undefined {
  for (const { name = defaultName, host, port } of given) {
    const found =
      host !== undefined
        ? (["Host", `"${host}"`, "host"] as const)
        : port !== undefined
          ? (["Port", String(port), "port"] as const)
          : undefined;
    if (found === undefined) continue;
    const [title, value, option] = found;
    return (
      `${title} ${value} is set in the config for application \`${name}\`. ` +
      `Please remove it and set ${option} in the top level deploy config only.`
    );
  }
  return undefined;
}

/**
 * Reads a Serve config file that was already parsed from YAML or JSON, in either spelling, and fills in Ray's
 * defaults. Ray's `ServeDeploySchema.parse_obj`. Builder arguments are not looked into.
 *
 * @throws ConfigurationError naming every problem
 */
export function parseServeDeployConfig(input: unknown): ServeDeployConfig {
  return resolveServeDeploy(parseConfig(serveDeploySchema, input, "Serve config"));
}

/**
 * Reads one application of such a file.
 *
 * @throws ConfigurationError naming every problem
 */
export function parseServeApplicationConfig(input: unknown): ServeApplicationConfig {
  return resolveServeApplication(parseConfig(serveApplicationSchema, input, "Serve application"));
}

const defaultName = "default";

const httpDefaults: HttpOptions = {
  host: "0.0.0.0",
  port: 8000,
  rootPath: "",
  requestTimeoutS: null,
  keepAliveTimeoutS: 90,
  sslKeyfile: null,
  sslCertfile: null,
  sslKeyfilePassword: null,
  sslCaCerts: null,
};

const grpcDefaults: GrpcOptions = { port: 9000, grpcServicerFunctions: [], requestTimeoutS: null };

/** Fills in Ray's defaults. */
export function resolveHttpOptions(options: Partial<z.output<typeof httpOptionsSchema>>): HttpOptions {
  return { ...httpDefaults, ...options } as HttpOptions;
}

/** Fills in Ray's defaults. */
export function resolveGrpcOptions(options: Partial<z.output<typeof grpcOptionsSchema>>): GrpcOptions {
  return { ...grpcDefaults, ...options } as GrpcOptions;
}

/** Fills in Ray's defaults. `options` must have been parsed. */
export function resolveServeDeploy(options: ServeDeployOptions): ServeDeployConfig {
  return {
    proxyLocation: options.proxyLocation ?? "EveryNode",
    httpOptions: resolveHttpOptions(options.httpOptions ?? {}),
    grpcOptions: resolveGrpcOptions(options.grpcOptions ?? {}),
    controllerOptions: options.controllerOptions ?? null,
    loggingConfig: options.loggingConfig ? resolveLogging(options.loggingConfig) : null,
    applications: options.applications.map(resolveServeApplication),
    targetCapacity: options.targetCapacity ?? null,
  };
}

/** Fills in Ray's defaults. `options` must have been parsed. */
export function resolveServeApplication(options: ServeApplicationOptions): ServeApplicationConfig {
  return {
    name: options.name ?? defaultName,
    routePrefix: options.routePrefix === undefined ? "/" : options.routePrefix,
    importPath: options.importPath,
    runtimeEnv: options.runtimeEnv ?? {},
    host: options.host ?? httpDefaults.host,
    port: options.port ?? httpDefaults.port,
    deployments: options.deployments ?? [],
    autoscalingPolicy: options.autoscalingPolicy ?? null,
    args: options.args ?? {},
    loggingConfig: options.loggingConfig ? resolveLogging(options.loggingConfig) : null,
    externalScalerEnabled: options.externalScalerEnabled ?? false,
  };
}

/** A config as its YAML file would spell it; {@link parseServeDeployConfig} reads it back. */
export function exportServeDeployConfig(config: ServeDeployConfig): Readonly<Record<string, unknown>> {
  // An application's own address is a leftover that the file may not have.
  const applications = config.applications.map(({ host: _host, port: _port, ...rest }) => rest);
  return snakeCased(serveDeploySchema, { ...config, applications }) as Readonly<Record<string, unknown>>;
}
