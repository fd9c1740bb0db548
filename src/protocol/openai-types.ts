/**
 * Wire types of the OpenAI API as vLLM speaks it. Open-ended: engines add fields, and every field not named here
 * passes through untouched. Field names are the wire's own.
 */

/** A part of a message: text, an image, audio, video. */
export interface ChatContentPart {
  /** `text`, `image_url`, `input_audio`, `video_url` and so on. */
  type: string;
  /** The text, when `type` is `text`. */
  text?: string;
  [key: string]: unknown;
}

/** A call of a tool. In a stream all but `index` may come in pieces. */
export interface ChatToolCall {
  /** Place among the calls of one message; in streams only. */
  index?: number;
  /** What the tool's answer refers to. */
  id?: string;
  /** `function`. */
  type?: string;
  /** The function and its arguments as JSON text, which may be invalid JSON. */
  function?: { name?: string; arguments?: string; [key: string]: unknown };
  [key: string]: unknown;
}

/** One message of a conversation. */
export interface ChatMessage {
  /** `system`, `developer`, `user`, `assistant` or `tool`. */
  role: string;
  /** Text or parts; null for an assistant message that only calls tools. */
  content?: string | ChatContentPart[] | null;
  /** Name of the participant. */
  name?: string;
  /** Calls the assistant made. */
  tool_calls?: ChatToolCall[];
  /** Of a `tool` message: the call it answers. */
  tool_call_id?: string;
  [key: string]: unknown;
}

/** A tool the model may call. */
export interface ChatTool {
  /** `function`. */
  type: string;
  /** Name, description and JSON schema of its parameters. */
  function: { name: string; description?: string; parameters?: unknown; [key: string]: unknown };
  [key: string]: unknown;
}

/** What the frames of a stream carry besides the answer. */
export interface StreamOptions {
  /** Adds a last frame with `usage` and no choices. */
  include_usage?: boolean | null;
  /** Adds `usage` to every frame (vLLM). */
  continuous_usage_stats?: boolean | null;
  [key: string]: unknown;
}

/** Fields that chat and completion requests share. */
export interface GenerationRequest {
  /** Model or LoRA adapter id. */
  model?: string | null;
  /** True for server-sent events. @default false */
  stream?: boolean | null;
  /** Only with `stream: true`. */
  stream_options?: StreamOptions | null;
  /** Most tokens to generate. In chat requests deprecated for `max_completion_tokens`. */
  max_tokens?: number | null;
  /** Fewest tokens to generate before a stop counts (vLLM). @default 0 */
  min_tokens?: number | null;
  /** Choices per prompt. @default 1 */
  n?: number | null;
  /** 0 is greedy. */
  temperature?: number | null;
  /** Nucleus sampling, 0 to 1. */
  top_p?: number | null;
  /** Stop strings. */
  stop?: string | string[] | null;
  /** Makes sampling repeatable. 64 bits on the wire; JavaScript numbers hold 53. */
  seed?: number | null;
  /** -2 to 2. */
  presence_penalty?: number | null;
  /** -2 to 2. */
  frequency_penalty?: number | null;
  /** Bias by token id. */
  logit_bias?: Record<string, number> | null;
  /** The caller's end user. */
  user?: string | null;
  /** Log probabilities of the prompt's tokens (vLLM). */
  prompt_logprobs?: number | null;
  /** Adds token ids to the answer (vLLM). */
  return_token_ids?: boolean | null;
  /** Seed of the prefix cache, to keep tenants apart (vLLM). */
  cache_salt?: string | null;
  [key: string]: unknown;
}

/** Body of `POST /v1/chat/completions`. */
export interface ChatCompletionRequest extends GenerationRequest {
  /** The conversation so far. */
  messages: ChatMessage[];
  /** Most tokens to generate, reasoning included. */
  max_completion_tokens?: number | null;
  /** Tools the model may call. */
  tools?: ChatTool[] | null;
  /** `none`, `auto`, `required`, or one tool. */
  tool_choice?: unknown;
  /** For example `{ type: "json_schema", json_schema: ... }`. */
  response_format?: unknown;
  /** Adds log probabilities of the answer's tokens. @default false */
  logprobs?: boolean | null;
  /** How many alternatives per token, with `logprobs`. */
  top_logprobs?: number | null;
}

/** Body of `POST /v1/completions`. */
export interface CompletionRequest extends GenerationRequest {
  /** One prompt or many, as text or as token ids. */
  prompt?: string | string[] | number[] | number[][] | null;
  /** Repeats the prompt before the answer. @default false */
  echo?: boolean | null;
  /** How many log probabilities per token. */
  logprobs?: number | null;
  /** Text after the answer. */
  suffix?: string | null;
}

/** Token counts of one request. */
export interface Usage {
  /** Tokens of the prompt. */
  prompt_tokens: number;
  /** Tokens generated. */
  completion_tokens?: number | null;
  /** Both together. */
  total_tokens: number;
  /** How many of the prompt's tokens came from a cache; only when the engine is told to report it. */
  prompt_tokens_details?: { cached_tokens?: number | null; [key: string]: unknown } | null;
  [key: string]: unknown;
}

/**
 * Why a choice ended: `stop`, `length`, `tool_calls`, `abort`, `repetition` and what engines may add. Null within
 * a stream while it goes on.
 */
export type FinishReason = string | null;

/** Fields that all answers of chat and completions share. */
export interface GenerationResponse {
  /** `chatcmpl-` or `cmpl-` and the request id. */
  id: string;
  /** Seconds since 1970. */
  created: number;
  /** The model as the client named it. */
  model: string;
  /** The engine's version and layout. */
  system_fingerprint?: string | null;
  [key: string]: unknown;
}

/** The assistant's message in a {@link ChatCompletion}. */
export interface ChatCompletionMessage {
  /** `assistant`. */
  role: string;
  /** The answer; null when there are only tool calls. */
  content?: string | null;
  /** The model's reasoning; older vLLM releases call it `reasoning_content`. */
  reasoning?: string | null;
  /** Why the model refused. */
  refusal?: string | null;
  /** Calls of tools; left out when there are none. */
  tool_calls?: ChatToolCall[];
  [key: string]: unknown;
}

/** One choice of a {@link ChatCompletion}. */
export interface ChatCompletionChoice {
  /** From 0. */
  index: number;
  message: ChatCompletionMessage;
  /** Log probabilities, when asked for. */
  logprobs?: unknown;
  finish_reason: FinishReason;
  /** Stop string or token id that ended it (vLLM). */
  stop_reason?: string | number | null;
  [key: string]: unknown;
}

/** Answer of `POST /v1/chat/completions`. */
export interface ChatCompletion extends GenerationResponse {
  object: "chat.completion";
  choices: ChatCompletionChoice[];
  usage?: Usage | null;
}

/** What one frame adds to a message. */
export interface ChatCompletionDelta {
  /** Only in the first frame of a choice. */
  role?: string;
  content?: string | null;
  /** The model's reasoning; older vLLM releases call it `reasoning_content`. */
  reasoning?: string | null;
  tool_calls?: ChatToolCall[];
  [key: string]: unknown;
}

/** One choice of a {@link ChatCompletionChunk}. */
export interface ChatCompletionChunkChoice {
  /** From 0. */
  index: number;
  delta: ChatCompletionDelta;
  /** Log probabilities, when asked for. */
  logprobs?: unknown;
  finish_reason?: FinishReason;
  /** Stop string or token id that ended it (vLLM). */
  stop_reason?: string | number | null;
  [key: string]: unknown;
}

/** One frame of a streamed chat completion. */
export interface ChatCompletionChunk extends GenerationResponse {
  object: "chat.completion.chunk";
  /** Empty in the frame that carries only `usage`. */
  choices: ChatCompletionChunkChoice[];
  usage?: Usage | null;
}

/** One choice of a {@link Completion} or a {@link CompletionChunk}. */
export interface CompletionChoice {
  /** `promptIndex * n + i`. */
  index: number;
  /** The answer, or in a stream what this frame adds to it. */
  text: string;
  /** Log probabilities, when asked for. */
  logprobs?: unknown;
  finish_reason: FinishReason;
  /** Stop string or token id that ended it (vLLM). */
  stop_reason?: string | number | null;
  [key: string]: unknown;
}

/** Answer of `POST /v1/completions`. */
export interface Completion extends GenerationResponse {
  object: "text_completion";
  choices: CompletionChoice[];
  usage?: Usage | null;
}

/** One frame of a streamed completion; looks as {@link Completion} does. */
export interface CompletionChunk extends GenerationResponse {
  object: "text_completion";
  /** Empty in the frame that carries only `usage`. */
  choices: CompletionChoice[];
  usage?: Usage | null;
}

/** One model of `GET /v1/models`. */
export interface ModelCard {
  id: string;
  object: "model";
  /** Seconds since 1970. */
  created: number;
  /** `vllm`, or who serves it. */
  owned_by: string;
  /** The base model of a LoRA adapter. */
  parent?: string | null;
  /** Longest prompt and answer together, in tokens. */
  max_model_len?: number | null;
  [key: string]: unknown;
}

/** Answer of `GET /v1/models`. */
export interface ModelList {
  object: "list";
  data: ModelCard[];
}

/** The one shape of errors clients see. */
export interface OpenAIErrorBody {
  error: {
    /** For people. */
    message: string;
    /** For example `invalid_request_error`. */
    type: string;
    /** The request field at fault. */
    param: string | null;
    /** Stable identifier; a number where an engine's own code passes through. */
    code: string | number | null;
    [key: string]: unknown;
  };
}
