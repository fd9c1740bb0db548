import type { LLMConfig } from "../config/llm-config.ts";
import type { LoraAdapter } from "./lora-listing.ts";

/** A model as `/v1/models` shows it: Ray's card, with the two fields of vLLM's that clients look for. */
export interface ServedModelCard {
  readonly id: string;
  readonly object: "model";
  /** Seconds since 1970 at which this process began to serve it. */
  readonly created: number;
  readonly owned_by: string;
  readonly permission: readonly unknown[];
  /** Only of adapters: the model they belong to. */
  readonly parent?: string | undefined;
  /** `max_model_len` of the engines, when the configuration says it. */
  readonly max_model_len: number | null;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** Mirrors Ray's `to_model_metadata`. Ray's cards have no `created` and no `max_model_len`. */
export function modelCard(config: LLMConfig, createdS: number): ServedModelCard {
  const maxLength = config.maxRequestContextLength;
  return {
    id: config.modelId,
    object: "model",
    created: createdS,
    owned_by: "organization-owner",
    permission: [],
    max_model_len: typeof maxLength === "number" ? maxLength : null,
    metadata: {
      model_id: config.modelId,
      input_modality: config.inputModality,
      max_request_context_length: maxLength ?? null,
    },
  };
}

/** The card of a model's LoRA adapter, which clients name `model:adapter`. */
export function adapterCard(base: ServedModelCard, adapter: LoraAdapter): ServedModelCard {
  const id = `${base.id}:${adapter.name}`;
  return {
    ...base,
    id,
    parent: base.id,
    max_model_len: adapter.maxContextLength ?? base.max_model_len,
    metadata: {
      ...base.metadata,
      model_id: id,
      base_model_id: base.id,
      max_request_context_length: adapter.maxContextLength,
      bucket_uri: adapter.uri,
    },
  };
}
