import { ConfigurationError } from "../errors/configuration-error.ts";
import type { ApplicationNode, DeploymentContext, DeploymentInstance } from "./deployment-context.ts";

/** The instances of a bound graph. */
export interface ApplicationGraph {
  readonly root: DeploymentInstance;
  /** By deployment name, callees before callers. */
  readonly instances: ReadonlyMap<string, DeploymentInstance>;
}

/**
 * Makes one instance of every node, callees first. A node that several others use is made once.
 *
 * @param nodeOf tells the applications among the arguments from ordinary values
 * @throws ConfigurationError when two different nodes have one name
 */
export function buildGraph(
  root: ApplicationNode,
  nodeOf: (value: unknown) => ApplicationNode | undefined,
  environment: Omit<DeploymentContext, "name" | "options">,
): ApplicationGraph {
  const instances = new Map<string, DeploymentInstance>();
  const made = new Map<ApplicationNode, DeploymentInstance>();

  const make = (node: ApplicationNode): DeploymentInstance => {
    const known = made.get(node);
    if (known !== undefined) return known;
    const { name, deployedClass, options, args } = node;
    const resolved = resolve(args);
    if (instances.has(name)) throw duplicateName(name);
    const instance = new deployedClass(resolved as never, { name, options, ...environment });
    instances.set(name, instance);
    made.set(node, instance);
    return instance;
  };

  const resolve = (value: unknown): unknown => {
    const node = nodeOf(value);
    if (node !== undefined) return make(node);
    if (Array.isArray(value)) return value.map(resolve);
    if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, resolve(item)]));
    if (isPlainObject(value)) {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item)]));
    }
    return value;
  };

  return { root: make(root), instances };
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function duplicateName(name: string): ConfigurationError {
  return new ConfigurationError("The application graph", [
    {
      path: ["deployments", name],
      message: "Two different deployments have this name; give one of them another with .options({ name })",
      type: "value_error",
    },
  ]);
}
