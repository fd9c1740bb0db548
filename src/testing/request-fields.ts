import { badRequest, validationError, type EngineRefusal, type PydanticIssue } from "./engine-refusal.ts";

/** The two generating routes. */
export type GenerateKind = "chat" | "completions";

type FieldType = "int" | "float" | "bool" | "string" | "list" | "dict";

const sharedFields: Readonly<Record<string, FieldType>> = {
  model: "string",
  stream: "bool",
  stream_options: "dict",
  max_tokens: "int",
  min_tokens: "int",
  n: "int",
  temperature: "float",
  top_p: "float",
  top_k: "int",
  min_p: "float",
  presence_penalty: "float",
  frequency_penalty: "float",
  repetition_penalty: "float",
  seed: "int",
  stop_token_ids: "list",
  ignore_eos: "bool",
  include_stop_str_in_output: "bool",
  echo: "bool",
  user: "string",
  priority: "int",
  prompt_logprobs: "int",
  truncate_prompt_tokens: "int",
  return_token_ids: "bool",
  request_id: "string",
  kv_transfer_params: "dict",
  logit_bias: "dict",
  response_format: "dict",
};
const fieldsOf: Readonly<Record<GenerateKind, Readonly<Record<string, FieldType>>>> = {
  chat: {
    ...sharedFields,
    messages: "list",
    max_completion_tokens: "int",
    logprobs: "bool",
    top_logprobs: "int",
    tools: "list",
    add_generation_prompt: "bool",
    continue_final_message: "bool",
    chat_template: "string",
    chat_template_kwargs: "dict",
    documents: "list",
    parallel_tool_calls: "bool",
  },
  completions: { ...sharedFields, logprobs: "int", suffix: "string", best_of: "int" },
};

/** A JSON object as it came; wire names. */
export type RequestBody = Readonly<Record<string, unknown>>;

/**
 * Checks the shape of a generating request as vLLM's pydantic models do.
 *
 * @throws EngineRefusal 400 `Bad Request` listing every field of the wrong type
 */
export function checkFields(kind: GenerateKind, body: unknown): RequestBody {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    const msg = "Input should be a valid dictionary or object to extract fields from";
    throw validationError([{ type: "model_attributes_type", loc: ["body"], msg, input: body }]);
  }
  const fields = body as RequestBody;
  refuseCombinations(kind, fields);
  const issues: PydanticIssue[] = [];
  if (kind === "chat" && fields["messages"] === undefined) issues.push(missing("messages", fields));
  if (kind === "completions") issues.push(...checkPrompt(fields["prompt"]));
  for (const [name, type] of Object.entries(fieldsOf[kind])) {
    const value = fields[name];
    const nullable = name !== "messages";
    if (value === undefined || (value === null && nullable)) continue;
    const issue = checkType(type, name, value);
    if (issue !== undefined) issues.push(issue);
  }
  if (kind === "chat" && Array.isArray(fields["messages"])) issues.push(...checkMessages(fields["messages"]));
  if (issues.length > 0) throw validationError(issues);
  return fields;
}

/** What vLLM's model validators refuse before they look at single types. */
function refuseCombinations(kind: GenerateKind, fields: RequestBody): void {
  if (isSet(fields["stream_options"]) && !isSet(fields["stream"])) {
    throw valueError("Stream options can only be defined when `stream=True`.", "stream_options", fields);
  }
  const salt = fields["cache_salt"];
  if (salt !== undefined && salt !== null && (typeof salt !== "string" || salt === "")) {
    throw valueError("Parameter 'cache_salt' must be a non-empty string if provided.", "cache_salt", fields);
  }
  const promptLogprobs = fields["prompt_logprobs"];
  if (
    typeof promptLogprobs === "number" &&
    fields["stream"] === true &&
    (promptLogprobs > 0 || promptLogprobs === -1)
  ) {
    throw valueError("`prompt_logprobs` are not available when `stream=True`.", "prompt_logprobs", fields);
  }
  if (kind === "completions") {
    const { prompt, prompt_embeds: embeds } = fields;
    const noPrompt = prompt === undefined || prompt === null || prompt === "";
    if (noPrompt && !isSet(embeds)) {
      throw valueError("Either prompt or prompt_embeds must be provided and non-empty.", "prompt", fields);
    }
    return;
  }
  if (Array.isArray(fields["tools"]) && fields["tools"].length === 0) {
    throw valueError("`tools` must not be an empty list.", "tools", fields);
  }
  if (
    typeof fields["top_logprobs"] === "number" &&
    fields["top_logprobs"] > 0 &&
    fields["logprobs"] !== true
  ) {
    throw valueError("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs", fields);
  }
  const choice = fields["tool_choice"];
  if (isSet(choice) && choice !== "none" && choice !== "auto" && !isSet(fields["tools"])) {
    throw valueError("When using `tool_choice`, `tools` must be set.", "tool_choice", fields);
  }
}

/** Python's idea of a value that counts. */
function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === "" || value === 0) return false;
  return typeof value === "object" ? Object.keys(value).length > 0 : true;
}

function valueError(message: string, param: string, input: unknown): EngineRefusal {
  const msg = `Value error, ${message} (parameter=${param})`;
  return validationError([{ type: "value_error", loc: ["body"], msg, input }], param);
}

function missing(name: string, input: unknown): PydanticIssue {
  return { type: "missing", loc: ["body", name], msg: "Field required", input };
}

function checkPrompt(prompt: unknown): PydanticIssue[] {
  const isPrompt = (value: unknown): boolean =>
    typeof value === "string" || (Array.isArray(value) && value.every((item) => Number.isInteger(item)));
  if (prompt === undefined || prompt === null || isPrompt(prompt)) return [];
  if (Array.isArray(prompt) && prompt.every(isPrompt)) return [];
  const msg = "Input should be a valid string";
  return [{ type: "string_type", loc: ["body", "prompt", "str"], msg, input: prompt }];
}

function checkMessages(messages: readonly unknown[]): PydanticIssue[] {
  const issues: PydanticIssue[] = [];
  for (const [index, message] of messages.entries()) {
    if (typeof message !== "object" || message === null) {
      const msg = "Input should be a valid dictionary";
      issues.push({ type: "dict_type", loc: ["body", "messages", index], msg, input: message });
    } else if (!("role" in message)) {
      issues.push({ ...missing("messages", message), loc: ["body", "messages", index, "role"] });
    }
  }
  return issues;
}

function checkType(type: FieldType, name: string, value: unknown): PydanticIssue | undefined {
  const issue = (kind: string, msg: string): PydanticIssue => ({
    type: kind,
    loc: ["body", name],
    msg,
    input: value,
  });
  switch (type) {
    case "string":
      return typeof value === "string" ? undefined : issue("string_type", "Input should be a valid string");
    case "list":
      return Array.isArray(value) ? undefined : issue("list_type", "Input should be a valid list");
    case "dict":
      return typeof value === "object" && !Array.isArray(value)
        ? undefined
        : issue("dict_type", "Input should be a valid dictionary");
    case "bool":
      if (typeof value === "boolean" || value === 0 || value === 1) return undefined;
      if (typeof value === "string" && /^(true|false|yes|no|on|off|t|f|y|n|0|1)$/i.test(value))
        return undefined;
      return typeof value === "string" || typeof value === "number"
        ? issue("bool_parsing", "Input should be a valid boolean, unable to interpret input")
        : issue("bool_type", "Input should be a valid boolean");
    case "int":
      if (typeof value === "boolean") return undefined;
      if (typeof value === "number") {
        return Number.isInteger(value)
          ? undefined
          : issue("int_from_float", "Input should be a valid integer, got a number with a fractional part");
      }
      if (typeof value !== "string") return issue("int_type", "Input should be a valid integer");
      return /^\s*[+-]?\d+\s*$/.test(value)
        ? undefined
        : issue("int_parsing", "Input should be a valid integer, unable to parse string as an integer");
    case "float":
      if (typeof value === "number" || typeof value === "boolean") return undefined;
      if (typeof value !== "string") return issue("float_type", "Input should be a valid number");
      return value.trim() !== "" && !Number.isNaN(Number(value))
        ? undefined
        : issue("float_parsing", "Input should be a valid number, unable to parse string as a number");
  }
  return undefined;
}

/**
 * Checks values once the prompt is known, as vLLM's sampling parameters do.
 *
 * @throws EngineRefusal 400 `BadRequestError`
 */
export function checkSampling(values: {
  readonly maxTokens: number;
  readonly minTokens: number;
  readonly n: number;
  readonly temperature: number;
  readonly topP: number;
  readonly stop: readonly string[];
}): void {
  const { maxTokens, minTokens, n, temperature, topP, stop } = values;
  if (maxTokens < 1) {
    throw badRequest(
      `max_tokens must be at least 1, got ${maxTokens}. (parameter=max_tokens, value=${maxTokens})`,
      "max_tokens",
    );
  }
  if (minTokens < 0) throw badRequest(`min_tokens must be greater than or equal to 0, got ${minTokens}.`);
  if (minTokens > maxTokens) {
    throw badRequest(`min_tokens must be less than or equal to max_tokens=${maxTokens}, got ${minTokens}.`);
  }
  if (n < 1) throw badRequest(`n must be at least 1, got ${n}.`);
  if (temperature < 0) {
    throw badRequest(
      `temperature must be non-negative, got ${temperature}. (parameter=temperature, value=${temperature})`,
      "temperature",
    );
  }
  if (topP <= 0 || topP > 1) {
    throw badRequest(`top_p must be in (0, 1], got ${topP}. (parameter=top_p, value=${topP})`, "top_p");
  }
  if (stop.length > 4) {
    throw badRequest(`stop must have at most 4 strings, got ${stop.length}. (parameter=stop)`, "stop");
  }
  if (stop.includes("")) throw badRequest("stop cannot contain an empty string.");
}
