import { camelCased, toSnakeCase } from "./casing.ts";
import type { ConfigWarning } from "./config-warning.ts";
import { unusedActorOptions, unusedDeploymentOptions } from "./deployment-schema.ts";
import { isPlainObject } from "./lax-schema.ts";
import { serveDeploySchema } from "./serve-deploy-schema.ts";

/**
 * The options of a Serve config file that are read and then not used, here or in Ray. Ray says nothing about them.
 *
 * @param input the file, parsed from YAML or JSON
 */
export function unusedOptionWarnings(input: unknown): readonly ConfigWarning[] {
  const config = camelCased(serveDeploySchema, input).value;
  const warnings: ConfigWarning[] = [];
  for (const application of listIn(config, "applications")) {
    for (const deployment of listIn(application, "deployments")) {
      const name = isPlainObject(deployment) ? String(deployment["name"]) : "";
      for (const key of keysIn(deployment, unusedDeploymentOptions)) {
        warnings.push(notUsed(name, toSnakeCase(key), "set it in code"));
      }
      const actor = isPlainObject(deployment) ? deployment["rayActorOptions"] : undefined;
      for (const key of keysIn(actor, unusedActorOptions)) {
        warnings.push(notUsed(name, `ray_actor_options.${toSnakeCase(key)}`, "Serve does not allow it"));
      }
    }
  }
  return warnings;
}

function notUsed(deployment: string, option: string, reason: string): ConfigWarning {
  return { category: "log", message: `Deployment '${deployment}': ${option} is not used; ${reason}.` };
}

function listIn(value: unknown, key: string): readonly unknown[] {
  const list = isPlainObject(value) ? value[key] : undefined;
  return Array.isArray(list) ? list : [];
}

function keysIn(value: unknown, names: object): readonly string[] {
  return isPlainObject(value) ? Object.keys(value).filter((key) => key in names) : [];
}
