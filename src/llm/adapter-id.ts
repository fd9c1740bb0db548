import type { RequestEdits } from "../kv-transfer/kv-connector.ts";
import type { Replica } from "../replicas/replica.ts";

/**
 * The adapter a request names, as its full id `model:adapter`; undefined for the model itself, also when the model's
 * own id has a colon. Ray's multiplexed model id.
 */
export function adapterIdOf(modelId: string, baseModelId: string): string | undefined {
  const prefix = `${baseModelId}:`;
  return modelId.length > prefix.length && modelId.startsWith(prefix) ? modelId : undefined;
}

/**
 * Adds the name a replica knows an adapter by, when that is not the full id: engines that were started with
 * `--lora-modules sql=...` call it `sql`.
 */
export function withAdapterName(
  edits: RequestEdits,
  adapterId: string | undefined,
  replica: Replica,
): RequestEdits {
  if (adapterId === undefined) return edits;
  const served = replica.servedModels?.filter(({ parent }) => parent !== undefined) ?? [];
  if (served.some(({ id }) => id === adapterId)) return edits;
  const own = served.find(({ id, parent }) => adapterId === `${parent}:${id}`);
  return own === undefined ? edits : { ...edits, set: { ...edits.set, model: own.id } };
}
