import { ConfigurationError, type ConfigIssue } from "../errors/configuration-error.ts";
import { readImportPath } from "./import-path.ts";
import { suggestion } from "./nearest-name.ts";
import { parseYaml } from "./read-yaml.ts";
import { validateRoutePrefix } from "./route-prefix.ts";
import {
  parseServeDeployConfig,
  type ServeApplicationConfig,
  type ServeDeployConfig,
} from "./serve-deploy-schema.ts";

/** The builders an `import_path` may name. */
export type BuilderName = "buildPdOpenaiApp" | "buildOpenaiApp" | "buildDpOpenaiApp";

/** One application of a Serve config, its builder known. */
export interface ServeApplication extends ServeApplicationConfig {
  /** What `importPath` names; undefined for a path of the user's own, which the caller must resolve. */
  readonly builder: BuilderName | undefined;
}

/** A Serve config file, checked: what `serve deploy` takes. Ray's `ServeDeploySchema`. */
export interface ServeConfig extends ServeDeployConfig {
  readonly applications: readonly ServeApplication[];
}

/** Builder names, by Ray's name and ours. */
const builders: ReadonlyMap<string, BuilderName> = new Map([
  ["build_pd_openai_app", "buildPdOpenaiApp"],
  ["build_openai_app", "buildOpenaiApp"],
  ["build_dp_openai_app", "buildDpOpenaiApp"],
  ["buildPdOpenaiApp", "buildPdOpenaiApp"],
  ["buildOpenaiApp", "buildOpenaiApp"],
  ["buildDpOpenaiApp", "buildDpOpenaiApp"],
]);

/** Modules whose builders this library has. */
const builderModules = new Set(["ray.serve.llm", "serve-llm"]);

/**
 * Reads a whole Serve config: YAML or JSON text, or the object it stands for, in either spelling. Builder arguments
 * (`args`) are checked by the builders.
 *
 * @param input text, or an object
 * @throws {ConfigurationError} naming every problem: also route prefixes, and builders that do not exist
 */
export function parseServeConfig(input: string | Readonly<Record<string, unknown>>): ServeConfig {
  const parsed: unknown = typeof input === "string" ? parseYaml(input, "Serve config") : input;
  const config = parseServeDeployConfig(parsed);
  const issues: ConfigIssue[] = [];
  const applications = config.applications.map((application, index): ServeApplication => {
    const path = ["applications", index] as const;
    issues.push(...routePrefixIssues(application.routePrefix, path));
    const problem = unknownBuilder(application.importPath);
    if (problem !== undefined) {
      issues.push({ path: [...path, "import_path"], type: "import_error", message: problem });
    }
    return { ...application, builder: builderName(application.importPath) };
  });
  if (issues.length > 0) throw new ConfigurationError("Serve config", issues);
  return { ...config, applications };
}

/** The builder that an import path names, or undefined when it is not one of this library's. */
export function builderName(importPath: string): BuilderName | undefined {
  const read = readImportPath(importPath);
  return read !== undefined && builderModules.has(read.module) ? builders.get(read.name) : undefined;
}

function unknownBuilder(importPath: string): string | undefined {
  const read = readImportPath(importPath);
  if (read === undefined || !builderModules.has(read.module) || builders.has(read.name)) return undefined;
  return `Could not import ${read.name} from ${read.module}${suggestion(read.name, builders.keys())}`;
}

function routePrefixIssues(
  routePrefix: string | null,
  path: readonly (string | number)[],
): readonly ConfigIssue[] {
  try {
    validateRoutePrefix(routePrefix);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return error.issues.map((issue) => ({ ...issue, path: [...path, ...issue.path] }));
  }
}
