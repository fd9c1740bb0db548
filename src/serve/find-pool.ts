import { ConfigurationError } from "../errors/configuration-error.ts";
import type { DeploymentControl, DeploymentInstance } from "./deployment-context.ts";

/**
 * The pool of the deployment of that name.
 *
 * @param application name of the application, for the error
 * @throws ConfigurationError when there is no such deployment, or it has no engines of its own
 */
export function findPool(
  application: string,
  instances: ReadonlyMap<string, DeploymentInstance>,
  name: string,
): DeploymentControl {
  const found = instances.get(name)?.pool;
  if (found !== undefined) return found;
  const known = [...instances].flatMap(([each, { pool }]) =>
    pool === undefined ? [] : [JSON.stringify(each)],
  );
  throw new ConfigurationError(`Application "${application}"`, [
    {
      path: ["deployment"],
      message: instances.has(name)
        ? "This deployment has no engines of its own"
        : "There is no such deployment",
      type: "value_error",
      expected: `one of ${known.join(", ")}`,
      received: JSON.stringify(name),
    },
  ]);
}
