import type { LLMConfig } from "../config/llm-config.ts";

/** A model as `/v1/models` shows it: Ray's card, with the two fields of vLLM's that clients look for. */
export interface ServedModelCard {
  readonly id: string;
  readonly object: "model";
  /** Seconds since 1970 at which this process began to serve it. */
  readonly created: number;
  readonly owned_by: string;
  readonly permission: readonly unknown[];
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
