import type { LLMConfig } from "../config/llm-config.ts";
import { type AdapterMetadata, type ModelCard, modelCard } from "../config/model-card.ts";

/** A model as `/v1/models` shows it: Ray's card, with the fields of vLLM's that clients look for. */
export interface ServedModelCard extends ModelCard {
  /** Seconds since 1970 at which this process began to serve it. */
  readonly created: number;
  /** `max_model_len` of the engines, when the configuration says it; of an adapter, its own. */
  readonly max_model_len: number | null;
  /** The model an adapter belongs to; null for a model. */
  readonly parent: string | null;
}

/** The card of a model, or of one of its adapters. */
export function servedModelCard(
  id: string,
  config: LLMConfig,
  createdS: number,
  adapter?: AdapterMetadata,
): ServedModelCard {
  const length = adapter?.max_request_context_length ?? config.maxRequestContextLength;
  return {
    ...modelCard(id, config, adapter),
    created: createdS,
    max_model_len: typeof length === "number" ? length : null,
    parent: adapter?.base_model_id ?? null,
  };
}
