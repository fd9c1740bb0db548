import { ConfigurationError } from "../errors/configuration-error.ts";
import type { Replica } from "../replicas/replica.ts";

/** Tells who named a replica that a deployment has not which ones it has. */
export function noSuchReplica(
  deployment: string,
  replicaId: string,
  replicas: readonly Replica[],
): ConfigurationError {
  const known = replicas.map(({ id }) => id);
  return new ConfigurationError(`Deployment "${deployment}"`, [
    {
      path: ["replicaId"],
      message: "There is no such replica",
      type: "value_error",
      expected: known.length === 0 ? "none: the deployment has no replica" : `one of ${known.join(", ")}`,
      received: replicaId,
    },
  ]);
}
