import { asJsonObject, parseEngineJson } from "../protocol/engine-json.ts";

/** One entry of vLLM's `/v1/models`. */
export interface ServedModel {
  /** The name requests use. */
  readonly id: string;
  /** Where its weights came from; undefined when the engine does not say. */
  readonly root: string | undefined;
  /** The model that this is a LoRA adapter of; undefined for a model of its own. */
  readonly parent: string | undefined;
  /** Tokens of prompt and answer together; undefined when the engine does not say. */
  readonly maxModelLen: number | undefined;
}

/**
 * Reads the body of `/v1/models`; undefined when it is not a list of models. Entries without an id are passed over.
 */
export function readServedModels(body: string): readonly ServedModel[] | undefined {
  const list = readJson(body)?.["data"];
  if (!Array.isArray(list)) return undefined;
  const models: ServedModel[] = [];
  for (const entry of list) {
    const { id, root, parent, max_model_len: maxModelLen } = asJsonObject(entry) ?? {};
    if (typeof id !== "string") continue;
    models.push({
      id,
      root: typeof root === "string" ? root : undefined,
      parent: typeof parent === "string" ? parent : undefined,
      maxModelLen: typeof maxModelLen === "number" ? maxModelLen : undefined,
    });
  }
  return models;
}

/** Reads the body of `/version`; undefined when it names none. */
export function readVersion(body: string): string | undefined {
  const version = readJson(body)?.["version"];
  return typeof version === "string" && version !== "" ? version : undefined;
}

function readJson(body: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return asJsonObject(parseEngineJson(body));
  } catch {
    return undefined;
  }
}
