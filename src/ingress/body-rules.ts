import {
  arrayOf,
  type FieldRules,
  integer,
  objectOf,
  objectOr,
  objectWith,
  ofKind,
  optional,
  type RequiredFields,
  textsOrTokens,
  word,
} from "./field-rules.ts";

/** What the JSON body of a route must be. */
export interface JsonRules {
  readonly kind: "json";
  readonly required: RequiredFields;
  readonly fields: FieldRules;
}

/** What the multipart form of a route must be. */
export interface FormRules {
  readonly kind: "form";
  /** Fields that must hold a file. */
  readonly files: readonly string[];
  /** Text fields that must be one of these words. */
  readonly words: Readonly<Record<string, readonly string[]>>;
  /** Text fields that must be numbers. */
  readonly numbers: readonly string[];
  /** Text fields that must be true or false. */
  readonly flags: readonly string[];
}

const text = ofKind(["string"]);
const optionalText = optional(text);
const flag = optional(ofKind(["boolean"]));
const number = optional(ofKind(["number"]));
const object = optional(ofKind(["object"]));
const list = optional(ofKind(["array"]));
const optionalInteger = optional(integer());

/** Fields that this library reads, whatever the route. */
const common: FieldRules = { model: optionalText, stream: flag, priority: optionalInteger };

/**
 * Fields we act on or that clients most often get wrong. Strict where pydantic is lax: `"true"` for `stream` would
 * make the engine stream without us knowing.
 */
const generation: FieldRules = {
  ...common,
  stream_options: optional(objectWith({ include_usage: flag, continuous_usage_stats: flag })),
  n: optionalInteger,
  max_tokens: optionalInteger,
  min_tokens: optionalInteger,
  temperature: number,
  top_p: number,
  top_k: optionalInteger,
  min_p: number,
  repetition_penalty: number,
  frequency_penalty: number,
  presence_penalty: number,
  seed: optionalInteger,
  stop: optional(ofKind(["string", "array"])),
  stop_token_ids: list,
  logit_bias: optional(objectOf(ofKind(["number"]))),
  user: optionalText,
  use_beam_search: flag,
  ignore_eos: flag,
  echo: flag,
  prompt_logprobs: optionalInteger,
  truncate_prompt_tokens: optional(integer(-1)),
};

const message = objectWith({
  role: text,
  content: optional(ofKind(["string", "array"])),
  tool_calls: list,
});

const inputs = optional(textsOrTokens);
const dimensions = optional(integer(1));
const encodingFormat = optional(word("float", "base64", "bytes", "bytes_only"));
const messages = arrayOf(message);

function json(required: RequiredFields, fields: FieldRules): JsonRules {
  return { kind: "json", required, fields };
}

/** Bodies of the JSON routes. */
export const jsonRules = {
  chat: json([["messages"]], {
    ...generation,
    messages,
    max_completion_tokens: optionalInteger,
    tools: list,
    tool_choice: optional(objectOr(word("none", "auto", "required"))),
    response_format: object,
    logprobs: flag,
    top_logprobs: optionalInteger,
  }),
  completions: json([], {
    ...generation,
    prompt: inputs,
    best_of: optionalInteger,
    logprobs: optionalInteger,
    suffix: optionalText,
  }),
  embeddings: json([["input", "messages"]], {
    ...common,
    input: textsOrTokens,
    messages,
    encoding_format: encodingFormat,
    dimensions,
    truncate_prompt_tokens: optional(integer(-1)),
  }),
  score: json([["text_1", "data_1", "queries", "query"]], common),
  rerank: json([["query"], ["documents"]], { ...common, top_n: optionalInteger }),
  /** Unlike Ray's, which serves the completion form only, as vLLM's: a prompt or messages. */
  tokenize: json([["prompt", "messages"]], {
    ...common,
    prompt: text,
    messages,
    add_special_tokens: flag,
    return_token_strs: optional(ofKind(["boolean"])),
  }),
  detokenize: json([["tokens"]], { ...common, tokens: arrayOf(integer(0)) }),
  responses: json([["input"]], { ...common, input: ofKind(["string", "array"]) }),
  messages: json([["messages"]], {
    ...common,
    messages: arrayOf(ofKind(["object"])),
    max_tokens: optionalInteger,
  }),
} as const satisfies Record<string, JsonRules>;

/** Bodies of the multipart routes. */
export const formRules = {
  audio: {
    kind: "form",
    files: ["file"],
    words: { response_format: ["json", "text", "srt", "verbose_json", "vtt", "diarized_json"] },
    numbers: ["temperature"],
    flags: ["stream"],
  },
} as const satisfies Record<string, FormRules>;
