/**
 * The part of a model id before its first colon: `org/model` of `org/model:adapter`. Ray's `get_base_model_id`, but
 * the colon of a scheme (`s3://`) does not count.
 */
export function baseModelId(modelId: string): string {
  const colon = adapterColon(modelId);
  return colon < 0 ? modelId : modelId.slice(0, colon);
}

/** The adapter's part of a model id, which may have colons of its own; empty without one. Ray's `get_lora_id`. */
export function loraId(modelId: string): string {
  const colon = adapterColon(modelId);
  return colon < 0 ? "" : modelId.slice(colon + 1);
}

function adapterColon(modelId: string): number {
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(modelId)?.[0].length ?? 0;
  return modelId.indexOf(":", scheme);
}

/** A model id for use in paths: `/` as `--`. Ray's `clean_model_id`. */
export function cleanModelId(modelId: string): string {
  return modelId.replaceAll("/", "--");
}

/** The id that a path segment stands for: `--` as `/`. Ray's `replace_prefix`. */
export function modelIdFromPath(segment: string): string {
  return segment.replaceAll("--", "/");
}

/** The name of a model's deployment, without its prefix: `/` as `--`, `.` as `_`. */
export function deploymentNameOfModel(modelId: string): string {
  return cleanModelId(modelId).replaceAll(".", "_");
}

/** The model ids of adapters in the sub-folders of a base model's LoRA folder. */
export function adapterModelIds(base: string, subfolders: readonly string[]): readonly string[] {
  return subfolders.map((folder) => `${base}:${folder}`);
}
