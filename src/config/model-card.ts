import { ConfigurationError } from "../errors/configuration-error.ts";
import { isPlainObject } from "./lax-schema.ts";
import type { LLMConfig } from "./llm-config.ts";
import { baseModelId, loraId } from "./model-id.ts";

/** One entry of `/v1/models`, as Ray shows it. Names are the wire's. */
export interface ModelCard {
  readonly id: string;
  readonly object: "model";
  readonly owned_by: string;
  readonly permission: readonly unknown[];
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** What differs between a base model's card and an adapter's. */
export interface AdapterMetadata {
  readonly model_id: string;
  readonly base_model_id: string;
  /** The adapter's `max_length`; null when it does not say. */
  readonly max_request_context_length: number | null;
  /** Folder the adapter lies in. */
  readonly bucket_uri: string;
}

/**
 * The card of a model. Ray's `to_model_metadata`.
 *
 * @param modelId the id shown, which may be an adapter's
 * @param overrides put over the base model's metadata
 */
export function modelCard(
  modelId: string,
  config: LLMConfig,
  overrides: Readonly<Record<string, unknown>> | AdapterMetadata = {},
): ModelCard {
  return {
    id: modelId,
    object: "model",
    owned_by: "organization-owner",
    permission: [],
    metadata: {
      model_id: config.modelId,
      input_modality: config.inputModality,
      max_request_context_length: config.maxRequestContextLength ?? null,
      ...overrides,
    },
  };
}

/** Where an adapter lies: the base folder, then its id. */
export function adapterFolder(basePath: string, modelId: string): string {
  return `${basePath}/${loraId(modelId)}`;
}

/** The configuration file of an adapter in a folder. */
export function adapterConfigFile(folder: string): string {
  return `${folder}${folder.endsWith("/") ? "" : "/"}adapter_config.json`;
}

/**
 * Metadata of an adapter from its `adapter_config.json`. Ray's `get_lora_model_metadata`.
 *
 * @param basePath the base model's `dynamicLoraLoadingPath`
 * @param adapterConfig text of the file
 * @throws {ConfigurationError} when the text is not a JSON object
 */
export function adapterMetadata(modelId: string, basePath: string, adapterConfig: string): AdapterMetadata {
  const folder = adapterFolder(basePath, modelId);
  const { max_length: maxLength } = readAdapterConfig(adapterConfig, folder);
  return {
    model_id: modelId,
    base_model_id: baseModelId(modelId),
    max_request_context_length: typeof maxLength === "number" ? maxLength : null,
    bucket_uri: folder,
  };
}

/** What to say when an adapter has no configuration; Ray's words. */
export function missingAdapterMessage(folder: string): string {
  return (
    `Unable to find LoRA adapter config file "adapter_config.json" in folder ${folder}. ` +
    "Check that the file exists and that you have read permissions."
  );
}

function readAdapterConfig(text: string, folder: string): Readonly<Record<string, unknown>> {
  const refuse = (cause?: unknown): never => {
    const message = `adapter_config.json in folder ${folder} is not a JSON object`;
    throw new ConfigurationError("LoRA adapter", [{ path: [], type: "json_invalid", message }], { cause });
  };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    refuse(error);
  }
  return isPlainObject(parsed) ? parsed : refuse();
}
