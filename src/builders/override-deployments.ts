import { mergeDeploymentOptions } from "../config/deployment-override.ts";
import { type ParsedDeploymentOptions, parseDeploymentOptions } from "../config/deployment-options.ts";
import type { ServeApplicationConfig } from "../config/serve-deploy-schema.ts";
import { Application } from "../serve/application.ts";
import type { ApplicationNode, DeploymentInstance } from "../serve/deployment-context.ts";

/**
 * An application with the `deployments[]` of a Serve config file put over the options from code, as Ray does when it
 * deploys. Without overrides the application itself.
 *
 * @throws ConfigurationError when the file names a deployment that is not there, or the outcome is not valid
 */
export function overrideDeployments<Instance extends DeploymentInstance>(
  app: Application<Instance>,
  { deployments, runtimeEnv }: Pick<ServeApplicationConfig, "deployments" | "runtimeEnv">,
): Application<Instance> {
  if (deployments.length === 0) return app;
  const code = new Map<string, ParsedDeploymentOptions>();
  walk(app, (node) => code.set(node.name, parseDeploymentOptions(node.options)));
  const merged = mergeDeploymentOptions(code, { deployments, runtimeEnv });
  const named = new Set(deployments.map(({ name }) => name));

  const remade = new Map<ApplicationNode, Application>();
  const remake = (application: Application): Application => {
    const { node } = application;
    const known = remade.get(node);
    if (known !== undefined) return known;
    const given = named.has(node.name) ? merged.deployments.get(node.name)?.given : undefined;
    const made = new Application({
      ...node,
      options: { ...node.options, ...given },
      args: mapApplications(node.args, remake),
    });
    remade.set(node, made);
    return made;
  };
  const warnings = merged.warnings.map(({ message }) => message);
  const result = remake(app) as Application<Instance>;
  return result.checked().withNotes([...app.notes(), ...warnings]);
}

function walk(application: Application, visit: (node: ApplicationNode) => void): void {
  mapApplications(application.node.args, (child) => {
    walk(child, visit);
    return child;
  });
  visit(application.node);
}

/** Copies a value with the applications in it exchanged. */
function mapApplications(value: unknown, change: (application: Application) => Application): unknown {
  if (value instanceof Application) return change(value);
  if (Array.isArray(value)) return value.map((item) => mapApplications(item, change));
  if (value instanceof Map) {
    return new Map([...value].map(([key, item]) => [key, mapApplications(item, change)]));
  }
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, mapApplications(item, change)]),
    );
  }
  return value;
}
