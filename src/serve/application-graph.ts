import { ConfigurationError } from "../errors/configuration-error.ts";
import type { EngineMetricsPage } from "../protocol/merge-metrics.ts";
import type {
  ApplicationNode,
  DeploymentContext,
  DeploymentInstance,
  DeploymentStatusDetails,
} from "./deployment-context.ts";

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
 * @throws ConfigurationError when two different nodes have one name, or one can't be made; it names the node
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
    const instance = named(
      name,
      () => new deployedClass(resolved as never, { name, options, ...environment }),
    );
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

/** The state of every deployment that has one, by name. */
export function deploymentStatuses(
  graph: ApplicationGraph | undefined,
): Readonly<Record<string, DeploymentStatusDetails>> {
  const statuses: Record<string, DeploymentStatusDetails> = {};
  for (const [name, instance] of graph?.instances ?? []) {
    const details = instance.status?.();
    if (details !== undefined) statuses[name] = details;
  }
  return statuses;
}

/** Pages of all engines whose deployments pass them on. */
export async function engineMetricsOf(
  graph: ApplicationGraph | undefined,
): Promise<readonly EngineMetricsPage[]> {
  const instances = [...(graph?.instances.values() ?? [])];
  const pages = await Promise.all(instances.map(async (instance) => instance.engineMetrics?.() ?? []));
  return pages.flat();
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** What goes wrong while a node is made says which node it is. */
function named<Instance>(name: string, make: () => Instance): Instance {
  try {
    return make();
  } catch (error) {
    const subject = `Deployment "${name}"`;
    if (!(error instanceof ConfigurationError)) {
      const message = error instanceof Error ? error.message : String(error);
      const issue = { path: [], message: `It could not be made: ${message}`, type: "value_error" };
      throw new ConfigurationError(subject, [issue], { cause: error });
    }
    if (error.message.includes(JSON.stringify(name))) throw error;
    throw new ConfigurationError(subject, error.issues, { cause: error });
  }
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
