/**
 * Wire types of the APIs that go to an engine as they come. Open-ended as those of chat and completions: engines add
 * fields, and every field not named here passes through untouched. Field names are the wire's own.
 */

import type { ChatMessage, Usage } from "./openai-types.ts";

/** Fields that all of these requests share. */
export interface ForwardedRequest {
  /** Model or LoRA adapter id. */
  model?: string | null;
  /** vLLM's `priority`: lower goes first. @default 0 */
  priority?: number | null;
  [key: string]: unknown;
}

/** Body of `POST /v1/embeddings`: texts or tokens as `input`, or a conversation as `messages` (vLLM). */
export interface EmbeddingRequest extends ForwardedRequest {
  /** One text or many, as text or as token ids. */
  input?: string | string[] | number[] | number[][];
  /** Instead of `input`. */
  messages?: ChatMessage[];
  /** @default "float" */
  encoding_format?: "float" | "base64" | null;
  /** Shortens the vectors, for models that can. */
  dimensions?: number | null;
}

/** Answer of `POST /v1/embeddings`. */
export interface EmbeddingResponse {
  object: "list";
  /** One for each input. `embedding` is base64 text where that was asked for. */
  data: { index: number; object: "embedding"; embedding: number[] | string; [key: string]: unknown }[];
  model: string;
  usage: Usage;
  [key: string]: unknown;
}

/** Body of `POST /v1/score`: two texts, or one and many, or `queries` and `documents` (vLLM). */
export interface ScoreRequest extends ForwardedRequest {
  text_1?: string | string[];
  text_2?: string | string[];
}

/** Answer of `POST /v1/score`. */
export interface ScoreResponse {
  object: "list";
  /** One for each pair. */
  data: { index: number; object: "score"; score: number; [key: string]: unknown }[];
  model: string;
  usage: Usage;
  [key: string]: unknown;
}

/** Body of `POST /v1/rerank`. */
export interface RerankRequest extends ForwardedRequest {
  query: unknown;
  documents: unknown;
  /** How many of the best are answered; 0 means all. @default 0 */
  top_n?: number | null;
}

/** Answer of `POST /v1/rerank`. */
export interface RerankResponse {
  /** The best first; `index` is the document's place in the request. */
  results: { index: number; relevance_score: number; [key: string]: unknown }[];
  model: string;
  [key: string]: unknown;
}

/** Body of `POST /tokenize`: a prompt or a conversation. */
export interface TokenizeRequest extends ForwardedRequest {
  prompt?: string;
  messages?: ChatMessage[];
  add_special_tokens?: boolean | null;
  /** Adds each token's text. @default false */
  return_token_strs?: boolean | null;
}

/** Answer of `POST /tokenize`. */
export interface TokenizeResponse {
  count: number;
  max_model_len: number;
  tokens: number[];
  token_strs?: string[] | null;
  [key: string]: unknown;
}

/** Body of `POST /detokenize`. */
export interface DetokenizeRequest extends ForwardedRequest {
  tokens: number[];
}

/** Answer of `POST /detokenize`. */
export interface DetokenizeResponse {
  prompt: string;
  [key: string]: unknown;
}

/** Form of `POST /v1/audio/transcriptions` and `.../translations`. Lists are sent as one field for each item. */
export interface AudioRequest {
  /** The audio. A `File` keeps its name. */
  file: Blob;
  /** Model or LoRA adapter id. */
  model?: string | null;
  /** Language of the audio, ISO 639-1. */
  language?: string | null;
  /** Text that guides the model. */
  prompt?: string | null;
  /** @default "json" */
  response_format?: "json" | "text" | "srt" | "verbose_json" | "vtt" | null;
  temperature?: number | null;
  /** True for server-sent events. @default false */
  stream?: boolean | null;
  [field: string]: unknown;
}

/** Answer of a transcription in JSON. */
export interface AudioTranscription {
  text: string;
  [key: string]: unknown;
}

/** One frame of a streamed transcription. */
export interface AudioTranscriptionChunk {
  choices: { delta?: { content?: string | null }; finish_reason?: string | null; [key: string]: unknown }[];
  [key: string]: unknown;
}

/** Body of `POST /v1/responses`, OpenAI's Responses API. */
export interface ResponsesRequest extends ForwardedRequest {
  /** A text, or items of a conversation. */
  input: string | unknown[];
  /** True for server-sent events. @default false */
  stream?: boolean | null;
}

/** Answer of `POST /v1/responses`. */
export interface ResponsesResponse {
  id: string;
  object: "response";
  /** `completed`, `incomplete`, `failed`, `cancelled`. */
  status: string;
  output: { type: string; [key: string]: unknown }[];
  [key: string]: unknown;
}

/** One event of a streamed response. `type` says which, for example `response.output_text.delta`. */
export interface ResponsesEvent {
  type: string;
  [key: string]: unknown;
}

/** Body of `POST /v1/messages`, Anthropic's Messages API. */
export interface MessagesRequest extends ForwardedRequest {
  messages: { role: string; content: unknown; [key: string]: unknown }[];
  /** Most tokens to generate; the engine requires it. */
  max_tokens?: number;
  /** True for server-sent events. @default false */
  stream?: boolean | null;
}

/** Answer of `POST /v1/messages`. */
export interface MessagesResponse {
  id: string;
  type: "message";
  role: string;
  content: { type: string; [key: string]: unknown }[];
  stop_reason: string | null;
  usage: { input_tokens: number; output_tokens: number; [key: string]: unknown };
  [key: string]: unknown;
}

/** One event of a streamed message. `type` says which, for example `content_block_delta`. */
export interface MessagesEvent {
  type: string;
  [key: string]: unknown;
}

/** Answer of `POST /v1/messages/count_tokens`. */
export interface MessageTokenCount {
  input_tokens: number;
  [key: string]: unknown;
}
