import type * as z from "zod";

import { ConfigurationError, type ConfigIssue } from "../errors/configuration-error.ts";
import { callbackConfigSchema } from "./callback-config.ts";
import { camelCased, snakeCased, toSnakeCase } from "./casing.ts";
import { jsonProblem } from "./json-value.ts";
import { isPlainObject } from "./lax-schema.ts";
import { deploymentOptionsShape } from "./llm-config-schema.ts";
import { loraConfigSchema } from "./lora-config.ts";
import { modelLoadingConfigSchema } from "./model-loading-config.ts";
import { placementGroupSchema } from "./placement-group-config.ts";
import { type RayPath, rayClassPath, rayRouterPath } from "./ray-paths.ts";
import { runtimeEnvSchema } from "./runtime-env.ts";

/** A part of a Serve config as Ray reads it: snake_case, JSON values. */
export type RayJson = Readonly<Record<string, unknown>>;

/** What this library adds to an LLMConfig: Ray would refuse it. */
const additions = new Set(["endpoints", "scalingTarget", "client"]);

const partSchemas: Readonly<Record<string, z.ZodType>> = {
  modelLoadingConfig: modelLoadingConfigSchema,
  placementGroupConfig: placementGroupSchema,
  loraConfig: loraConfigSchema,
  deploymentConfig: deploymentOptionsShape,
  runtimeEnv: runtimeEnvSchema,
  callbackConfig: callbackConfigSchema,
};

/** A value in Ray's spelling, whichever it came in; what was not given stays not given. */
export function inRaySpelling(schema: z.ZodType | undefined, value: unknown): unknown {
  return schema === undefined ? value : snakeCased(schema, camelCased(schema, value).value);
}

/**
 * The fields of an LLMConfig as they were given, for Ray: in its spelling, without what this library adds, and
 * without defaults.
 *
 * @param given keys in camelCase
 * @throws {ConfigurationError} for classes that Ray could not import, and values that are not JSON
 */
export function llmConfigForRay(given: Readonly<Record<string, unknown>>): RayJson {
  const issues: ConfigIssue[] = [];
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(given)) {
    if (additions.has(key) || value === undefined) continue;
    result[toSnakeCase(key)] = inRaySpelling(partSchemas[key], value);
  }
  replacePath(result, ["server_cls"], rayClassPath, issues);
  replacePath(result, ["callback_config", "callback_class"], rayClassPath, issues);
  replaceRouter(result, ["deployment_config"], issues);
  return finished("LLMConfig", result, issues);
}

/**
 * Arguments of a builder as they were given, for Ray.
 *
 * @param given keys in camelCase
 * @param configs the LLM configurations among them, by key, as {@link llmConfigForRay} gave them
 * @throws {ConfigurationError} for classes that Ray could not import, and values that are not JSON
 */
export function builderArgumentsForRay(
  subject: string,
  given: Readonly<Record<string, unknown>>,
  configs: Readonly<Record<string, RayJson | readonly RayJson[]>>,
): RayJson {
  const issues: ConfigIssue[] = [];
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const name = toSnakeCase(key);
    if (Object.hasOwn(configs, key)) result[name] = configs[key];
    else if (key.endsWith("DeploymentConfig")) result[name] = inRaySpelling(deploymentOptionsShape, value);
    else result[name] = classConfig(value);
  }
  replacePath(result, ["ingress_cls_config", "ingress_cls"], rayClassPath, issues);
  replacePath(result, ["proxy_cls_config", "proxy_cls"], rayClassPath, issues);
  replaceRouter(result, ["ingress_deployment_config"], issues);
  replaceRouter(result, ["proxy_deployment_config"], issues);
  return finished(subject, result, issues);
}

/** Arguments of this library's own ingress, which Ray's would not take. */
const ingressAdditions = new Set([
  "maxBodyBytes",
  "bodyTimeoutMs",
  "limits",
  "mediaHosts",
  "cors",
  "listLoraAdapters",
]);

function classConfig(value: unknown): unknown {
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [
      toSnakeCase(key),
      key === "ingressExtraKwargs" && isPlainObject(part)
        ? Object.fromEntries(Object.entries(part).filter(([name]) => !ingressAdditions.has(name)))
        : part,
    ]),
  );
}

function replaceRouter(
  result: Record<string, unknown>,
  path: readonly string[],
  issues: ConfigIssue[],
): void {
  replacePath(result, [...path, "request_router_config", "request_router_class"], rayRouterPath, issues);
}

/** Puts an import path in the place of a class, where there is one. */
function replacePath(
  root: Record<string, unknown>,
  path: readonly string[],
  read: (reference: unknown) => RayPath,
  issues: ConfigIssue[],
): void {
  const [key = "", ...below] = path.toReversed();
  let parent: unknown = root;
  for (const part of below.toReversed()) parent = isPlainObject(parent) ? parent[part] : undefined;
  const value = isPlainObject(parent) ? parent[key] : undefined;
  if (value === undefined || value === null) return;
  const found = read(value);
  if ("path" in found) (parent as Record<string, unknown>)[key] = found.path;
  else issues.push({ ...found, path, received: nameOf(value) });
}

function nameOf(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  return typeof value === "function" && value.name !== "" ? value.name : typeof value;
}

function finished(subject: string, result: RayJson, issues: readonly ConfigIssue[]): RayJson {
  const replaced = new Set(issues.map(({ path }) => path[0]));
  const unwritable = Object.entries(result).flatMap(([key, value]): readonly ConfigIssue[] => {
    const message = replaced.has(key) ? undefined : jsonProblem(value);
    if (message === undefined) return [];
    return [{ path: [key], type: "value_error", message: `Can't be exported: ${message}` }];
  });
  const all = [...issues, ...unwritable];
  if (all.length > 0) throw new ConfigurationError(subject, all);
  return result;
}
