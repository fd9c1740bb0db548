import type { LLMConfig } from "../config/llm-config.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { type RayService, rayServiceOf, type RayServiceOptions, type WorkerGroup } from "./ray-service.ts";

/** One entry of `applications` in a Serve config, in Ray's spelling. */
export interface ServeApplicationDocument {
  readonly name?: string;
  readonly route_prefix?: string | null;
  /** The builder that Ray imports, for example `ray.serve.llm:build_pd_openai_app`. */
  readonly import_path: string;
  /** Arguments of the builder. */
  readonly args: Readonly<Record<string, unknown>>;
  readonly [key: string]: unknown;
}

/** A Serve config as `serve deploy` takes it. Ray's `ServeDeploySchema`. */
export interface ServeConfigDocument {
  readonly applications: readonly ServeApplicationDocument[];
  readonly [key: string]: unknown;
}

/** The engines of one pool. */
export interface ExportedEngines {
  /** Name of the pool's deployment. */
  readonly deployment: string;
  /** Side of prefill/decode; undefined for a model that is not split. */
  readonly role: "prefill" | "decode" | undefined;
  readonly config: LLMConfig;
  /** Engines at first: 0 or more. */
  readonly replicas: number;
}

/** What a builder or a config file knows of an application, beyond its graph: what Ray would build it from. */
export interface Exportable {
  /** @throws ConfigurationError when something in it has no counterpart in Ray */
  readonly application: () => ServeApplicationDocument;
  /** Machines for its engines, one group for each pool. */
  readonly workerGroups: readonly WorkerGroup[];
  readonly engines: readonly ExportedEngines[];
}

/** How to write a Serve config. */
export interface ServeConfigOptions {
  /** Name of the application. @default as in the file it was loaded from, else "default" */
  readonly name?: string | undefined;
  /** Path it answers under; null for no HTTP. @default as in the file it was loaded from, else "/" */
  readonly routePrefix?: string | null | undefined;
}

/** The Serve config of one application. */
export function serveConfigOf(exportable: Exportable, options: ServeConfigOptions): ServeConfigDocument {
  const { name, routePrefix } = options;
  const application = {
    ...exportable.application(),
    ...(name === undefined ? {} : { name }),
    ...(routePrefix === undefined ? {} : { route_prefix: routePrefix }),
  };
  return { applications: [application] };
}

/** The RayService of one application. */
export function rayServiceFor(exportable: Exportable, options: RayServiceOptions): RayService {
  const { applicationName: name, routePrefix } = options;
  return rayServiceOf(serveConfigOf(exportable, { name, routePrefix }), exportable.workerGroups, options);
}

/** The error for a graph that no builder made. */
export function notExportable(name: string): ConfigurationError {
  return new ConfigurationError(`Application "${name}"`, [
    {
      path: [],
      type: "value_error",
      message:
        "A graph that was put together by hand can't be exported: Ray builds an application by an import path",
      expected:
        "an application made by buildPdOpenaiApp, buildOpenaiApp or buildDpOpenaiApp, or loaded from a Serve config file",
    },
  ]);
}
