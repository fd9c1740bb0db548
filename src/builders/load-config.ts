import { readFileSync } from "node:fs";

import { toSnakeCase } from "../config/casing.ts";
import { parseConfig } from "../config/parse-config.ts";
import type { PDServingArgsInit } from "../config/pd-serving-args.ts";
import { inRaySpelling } from "../config/ray-export.ts";
import { parseYaml } from "../config/read-yaml.ts";
import {
  type BuilderName,
  parseServeConfig,
  type ServeApplication,
  type ServeConfig,
} from "../config/serve-config.ts";
import { serveDeploySchema } from "../config/serve-deploy-schema.ts";
import type { DPOpenAiServingArgsInit, LLMServingArgsInit } from "../config/serving-args.ts";
import { ConfigurationError, type ConfigIssue } from "../errors/configuration-error.ts";
import type { OpenAiIngress } from "../ingress/openai-ingress.ts";
import type { Application } from "../serve/application.ts";
import type { Exportable, ServeConfigDocument } from "../serve/serve-export.ts";
import { buildDpOpenaiApp } from "./build-dp-openai-app.ts";
import { buildOpenaiApp } from "./build-openai-app.ts";
import { buildPdOpenaiApp } from "./build-pd-openai-app.ts";
import { BuilderArguments, type EngineSources } from "./builder-arguments.ts";
import { overrideDeployments } from "./override-deployments.ts";
import { within } from "./within.ts";

/** One application of a Serve config file, built and not started. */
export interface LoadedApplication {
  /** Unique in its file. @default "default" */
  readonly name: string;
  /** Path it answers under; null for no HTTP. @default "/" */
  readonly routePrefix: string | null;
  /** The builder, as the file names it. */
  readonly importPath: string;
  readonly app: Application<OpenAiIngress>;
}

/** A Serve config file with its applications built. */
export interface LoadedConfig {
  readonly applications: readonly LoadedApplication[];
  /** What the file says about the HTTP server; undefined where it says nothing. */
  readonly http: {
    readonly host: string | undefined;
    /** 0 to 65535. */
    readonly port: number | undefined;
    /** Path all routes are below. @default "" */
    readonly rootPath: string;
    /** Milliseconds an idle connection is kept. */
    readonly keepAliveTimeoutMs: number | undefined;
  };
  /** What the file asks for and can't have an effect here. */
  readonly notes: readonly string[];
}

/** What a Ray config file lacks: where the engines are. */
export type LoadConfigOptions = EngineSources;

type AppBuilder = (args: Readonly<Record<string, unknown>>) => Application<OpenAiIngress>;

/** Every builder that a config file may name. */
const builders: Readonly<Record<BuilderName, AppBuilder>> = {
  buildPdOpenaiApp: (args) => buildPdOpenaiApp(args as unknown as PDServingArgsInit),
  buildOpenaiApp: (args) => buildOpenaiApp(args as unknown as LLMServingArgsInit),
  buildDpOpenaiApp: (args) => buildDpOpenaiApp(args as unknown as DPOpenAiServingArgsInit),
};

/**
 * Reads a Ray Serve config file and builds its applications; starts nothing. Ray's file runs unmodified: it names no
 * endpoints, so they come from `options`, or stand in the file as `endpoints` of an LLM config (ours).
 *
 * @param source path of a file, or YAML text (anything with a line break, or starting with `{`), or what was parsed
 * @example const { applications } = serve.loadConfig("serve.yaml", { prefill: ["http://p0:8000"], decode: ["http://d0:8000"] });
 * @throws ConfigurationError naming every problem of the first step that found any
 */
export function loadConfig(
  source: string | Readonly<Record<string, unknown>>,
  options: LoadConfigOptions = {},
): LoadedConfig {
  const input = typeof source === "string" ? readSource(source) : source;
  const config = parseServeConfig(input);
  const given = applicationsOf(input);
  refuseTls(config);
  const chosen = config.applications.map(builderFor);
  const engines = new BuilderArguments(options, config.httpOptions.requestTimeoutS);
  const prepared = config.applications.map((application, index) =>
    within(subject, ["applications", index, "args"], () => engines.prepare(application.args)),
  );
  engines.refuseUnused();
  const applications = config.applications.map((application, index): LoadedApplication => {
    const { name, routePrefix, importPath } = application;
    const build = chosen[index]!;
    const built = within(subject, ["applications", index, "args"], () => build(prepared[index]!));
    const app = within(subject, ["applications", index], () => overrideDeployments(built, application));
    return { name, routePrefix, importPath, app: app.withExport(exportOf(built, given[index]!)) };
  });
  // Only what the file itself says: Ray's default of 0.0.0.0 would open more than a person here expects.
  const { host, port, keepAliveTimeoutS } = parseConfig(serveDeploySchema, input, subject).httpOptions ?? {};
  return {
    applications,
    http: {
      host,
      port,
      rootPath: config.httpOptions.rootPath,
      keepAliveTimeoutMs: keepAliveTimeoutS === undefined ? undefined : keepAliveTimeoutS * 1000,
    },
    notes: [
      ...fileNotes(config),
      ...config.applications.flatMap((application) =>
        applicationNotes(application).map((note) => `${application.name}: ${note}`),
      ),
      ...applications.flatMap(({ name, app }) => app.notes().map((note) => `${name}: ${note}`)),
    ],
  };
}

const subject = "Serve config";

/** The applications of a file as they are written, in Ray's spelling. */
function applicationsOf(
  input: Readonly<Record<string, unknown>>,
): readonly Readonly<Record<string, unknown>>[] {
  const { applications } = inRaySpelling(serveDeploySchema, input) as {
    readonly applications: readonly Readonly<Record<string, unknown>>[];
  };
  return applications;
}

/** What the file says, with the builder's arguments as Ray takes them. */
function exportOf(built: Application, given: Readonly<Record<string, unknown>>): Exportable {
  const { application, ...others } = built.exportable;
  return {
    ...others,
    application: () => {
      const { import_path, args } = application();
      return { ...given, import_path, args };
    },
  };
}

/**
 * The whole of a Serve config file as Ray takes it: what it says beside its applications stays, what this library
 * adds is left out.
 *
 * @param source as {@link loadConfig}
 * @throws ConfigurationError
 */
export function exportConfig(source: string | Readonly<Record<string, unknown>>): ServeConfigDocument {
  const input = typeof source === "string" ? readSource(source) : source;
  const { applications } = loadConfig(input);
  return {
    ...(inRaySpelling(serveDeploySchema, input) as Readonly<Record<string, unknown>>),
    applications: applications.map(({ app }) => app.exportable.application()),
  };
}

function readSource(source: string): Readonly<Record<string, unknown>> {
  // Both parsers refuse what is no object, with its place.
  const parsed = (text: string, from: string): Readonly<Record<string, unknown>> =>
    parseYaml(text, from) as Readonly<Record<string, unknown>>;
  if (source.includes("\n") || source.trimStart().startsWith("{")) return parsed(source, subject);
  try {
    return parsed(readFileSync(source, "utf8"), `${subject} ${source}`);
  } catch (error) {
    if (error instanceof ConfigurationError) throw error;
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    const reason = missing ? "there is no such file" : String(error);
    throw invalid([{ path: [], type: "value_error", message: `Could not read ${source}: ${reason}` }], error);
  }
}

function builderFor({ builder, importPath }: ServeApplication, index: number): AppBuilder {
  if (builder !== undefined) return builders[builder];
  throw invalid([
    {
      path: ["applications", index, "import_path"],
      type: "import_error",
      message: "Nothing can be imported from a Python path here, and no builder of this library has it",
      expected: Object.keys(builders)
        .map((name) => `ray.serve.llm:${toSnakeCase(name)} (serve-llm:${name})`)
        .join(" or "),
      received: importPath,
    },
  ]);
}

function refuseTls({ httpOptions }: ServeConfig): void {
  const given = (["sslKeyfile", "sslCertfile", "sslKeyfilePassword", "sslCaCerts"] as const).filter(
    (name) => httpOptions[name] !== null,
  );
  if (given.length === 0) return;
  throw invalid(
    given.map((name) => ({
      path: ["http_options", toSnakeCase(name)],
      type: "value_error",
      message:
        "TLS towards clients is not served from a config file; mount app.handler on a node:https server",
    })),
  );
}

/** What has no effect on engines that run elsewhere, or is not there yet. */
function fileNotes({ targetCapacity, loggingConfig, controllerOptions }: ServeConfig): readonly string[] {
  return [
    ...(targetCapacity === null
      ? []
      : ["target_capacity has no effect: the number of engines is not a share of another one here"]),
    ...(loggingConfig === null ? [] : ["logging_config has no effect: log lines come from your own logger"]),
    ...(controllerOptions === null
      ? []
      : ["controller_options has no effect: there is no controller process"]),
  ];
}

function applicationNotes(application: ServeApplication): readonly string[] {
  const { autoscalingPolicy, loggingConfig, externalScalerEnabled, runtimeEnv } = application;
  return [
    ...(autoscalingPolicy === null
      ? []
      : [
          "autoscaling_policy has no effect: a deployment with a scaling_target is sized by its own autoscaling_config",
        ]),
    ...(loggingConfig === null ? [] : ["logging_config has no effect: log lines come from your own logger"]),
    ...(externalScalerEnabled
      ? [
          "external_scaler_enabled has no effect: nobody is asked from outside; without a scaling_target the number of engines is yours",
        ]
      : []),
    ...(Object.keys(runtimeEnv).length === 0 ? [] : ["runtime_env has no effect: engines run elsewhere"]),
  ];
}

function invalid(issues: readonly ConfigIssue[], cause?: unknown): ConfigurationError {
  return new ConfigurationError(subject, issues, { cause });
}
