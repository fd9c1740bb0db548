import { renderChatPrompt } from "./chat-template.ts";
import { badRequest } from "./engine-refusal.ts";
import type { MockPhase } from "./fault-plan.ts";
import type { KvParams } from "./kv-params.ts";
import { completionPromptTokens } from "./mock-answer.ts";
import { encodeText, hashTokens } from "./mock-tokenizer.ts";
import { checkSampling, type GenerateKind, type RequestBody } from "./request-fields.ts";

/** A generating request, checked and with every default filled in. */
export interface GenerationRequest {
  readonly kind: GenerateKind;
  readonly model: string;
  readonly prompts: readonly (readonly number[])[];
  /** Choices for each prompt. */
  readonly n: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly continuousUsage: boolean;
  readonly maxTokens: number;
  readonly minTokens: number;
  readonly ignoreEos: boolean;
  readonly stop: readonly string[];
  readonly stopTokenIds: readonly number[];
  readonly includeStop: boolean;
  /** Alternatives for each token; undefined: no log probabilities. */
  readonly logprobs: number | undefined;
  readonly echo: boolean;
  readonly returnTokenIds: boolean;
  /** The function the answer has to call, and how such an answer ends. */
  readonly toolCall: { readonly name: string; readonly finishReason: "stop" | "tool_calls" } | undefined;
  /** Tokens for each frame that the request asks for (`stream_interval`). */
  readonly streamInterval: number | undefined;
  readonly kv: KvParams | undefined;
  readonly phase: MockPhase;
  /** What KV depends on beside the tokens: the adapter and the request's `cache_salt`. */
  readonly cacheSalt: string;
  /** Identifies the KV of the first prompt: its tokens, the adapter and the cache salt. */
  readonly fingerprint: string;
}

/** What the engine brings to reading a request. */
export interface GenerationLimits {
  readonly maxModelLen: number;
  readonly defaultMaxTokens: number | undefined;
  readonly tokenIds: "reused" | "ignored" | "refused";
  /** The adapter the request's model is, if it is one. */
  readonly adapter: string | undefined;
  /** What the request asks of the KV connector. */
  readonly kv: KvParams | undefined;
}

/** Which part a request plays, by what it asks for. */
export function phaseOf(kv: KvParams | undefined): MockPhase {
  if (kv?.doRemoteDecode === true) return "prefill";
  return kv?.doRemotePrefill === true ? "decode" : "aggregated";
}

/**
 * Turns a body of the right shape into a request.
 *
 * @throws EngineRefusal 400 when the prompt is too long or a value is out of range
 */
export function readGenerationRequest(
  kind: GenerateKind,
  body: RequestBody,
  limits: GenerationLimits,
): GenerationRequest {
  const { kv, tokenIds } = limits;
  const isChat = kind === "chat";
  if (tokenIds === "refused") refuseTokenIds(body, kv);
  const prompts = (
    isChat ? [chatPrompt(body, tokenIds === "reused" ? kv : undefined)] : completionPrompts(body["prompt"])
  ).map((tokens) => truncate(tokens, integer(body["truncate_prompt_tokens"]), limits.maxModelLen));
  const longest = Math.max(...prompts.map((tokens) => tokens.length));
  const asked = (isChat ? integer(body["max_completion_tokens"]) : undefined) ?? integer(body["max_tokens"]);
  const room = limits.maxModelLen - longest;
  checkLength(limits.maxModelLen, longest, asked ?? 0);
  const maxTokens = asked ?? limits.defaultMaxTokens ?? (isChat ? room : Math.min(16, room));
  const stop = body["stop"];
  const options = body["stream_options"] as RequestBody | null | undefined;
  const stream = flag(body["stream"]);
  const includeUsage = stream && flag(options?.["include_usage"]);
  const request: GenerationRequest = {
    kind,
    model: typeof body["model"] === "string" ? body["model"] : "",
    prompts,
    n: integer(body["n"]) ?? 1,
    stream,
    includeUsage,
    continuousUsage: includeUsage && flag(options?.["continuous_usage_stats"]),
    maxTokens,
    minTokens: integer(body["min_tokens"]) ?? 0,
    ignoreEos: flag(body["ignore_eos"]),
    stop: typeof stop === "string" ? [stop] : Array.isArray(stop) ? stop.map(String) : [],
    stopTokenIds: Array.isArray(body["stop_token_ids"]) ? body["stop_token_ids"].map(Number) : [],
    includeStop: flag(body["include_stop_str_in_output"]),
    logprobs: isChat
      ? flag(body["logprobs"])
        ? (integer(body["top_logprobs"]) ?? 0)
        : undefined
      : integer(body["logprobs"]),
    echo: flag(body["echo"]),
    returnTokenIds: tokenIds === "reused" && flag(body["return_token_ids"]),
    toolCall: isChat ? toolCallOf(body) : undefined,
    streamInterval: integer(body["stream_interval"]),
    kv,
    phase: phaseOf(kv),
    cacheSalt: JSON.stringify([limits.adapter, body["cache_salt"]]),
    fingerprint: fingerprintOf(prompts[0] ?? [], limits.adapter, body["cache_salt"]),
  };
  checkSampling({
    ...request,
    temperature: Number(body["temperature"] ?? 1),
    topP: Number(body["top_p"] ?? 1),
  });
  return request;
}

function refuseTokenIds(body: RequestBody, kv: KvParams | undefined): void {
  if (body["return_token_ids"] !== undefined) throw badRequest("Unknown field", "return_token_ids");
  if (kv?.promptTokenIds !== undefined) throw badRequest("Unknown field", "kv_transfer_params");
  if (Array.isArray(body["prompt"])) throw badRequest("prompt must be a string", "prompt");
}

function chatPrompt(body: RequestBody, kv: KvParams | undefined): readonly number[] {
  return kv?.doRemotePrefill === true && kv.promptTokenIds !== undefined
    ? kv.promptTokenIds
    : encodeText(renderChatPrompt(body));
}

function completionPrompts(prompt: unknown): readonly (readonly number[])[] {
  if (!Array.isArray(prompt) || prompt.every((item) => typeof item === "number")) {
    return [completionPromptTokens(prompt)];
  }
  if (prompt.length > 1024) {
    throw badRequest(
      `prompt list length ${prompt.length} exceeds the maximum allowed count of 1024.`,
      "prompt",
    );
  }
  return prompt.map(completionPromptTokens);
}

function truncate(tokens: readonly number[], to: number | undefined, maxModelLen: number): readonly number[] {
  if (to === undefined) return tokens;
  const keep = to === -1 ? maxModelLen : to;
  return tokens.length > keep ? tokens.slice(tokens.length - keep) : tokens;
}

function checkLength(maxModelLen: number, promptTokens: number, outputTokens: number): void {
  // A prompt that fills the context leaves no room for even one token.
  if (promptTokens + Math.max(outputTokens, 1) <= maxModelLen) return;
  throw badRequest(
    `This model's maximum context length is ${maxModelLen} tokens. However, you requested ${outputTokens} output ` +
      `tokens and your prompt contains ${promptTokens} input tokens, for a total of ` +
      `${promptTokens + outputTokens} tokens. Please reduce the length of the input prompt or the number of ` +
      `requested output tokens. (parameter=input_tokens, value=${promptTokens})`,
    "input_tokens",
  );
}

function toolCallOf(body: RequestBody): GenerationRequest["toolCall"] {
  const choice = body["tool_choice"];
  if (choice === "required") {
    const tools = body["tools"];
    const first: unknown = Array.isArray(tools) ? tools[0] : undefined;
    return { name: functionName(first) ?? "", finishReason: "tool_calls" };
  }
  const name = functionName(choice);
  return name === undefined ? undefined : { name, finishReason: "stop" };
}

function functionName(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || !("function" in value)) return undefined;
  const called = value.function;
  return typeof called === "object" && called !== null && "name" in called && typeof called.name === "string"
    ? called.name
    : undefined;
}

/** Identifies KV by what was prefilled. */
export function fingerprintOf(
  tokens: readonly number[],
  adapter: string | undefined,
  cacheSalt: unknown,
): string {
  const salt = typeof cacheSalt === "string" ? cacheSalt : "";
  const context = encodeText(`${adapter ?? ""}\n${salt}`);
  const first = hashTokens(tokens, hashTokens(context, 1));
  const second = hashTokens(tokens, hashTokens(context, 2));
  return `${tokens.length}-${first.toString(16)}${second.toString(16)}`;
}

function integer(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  return Number(value);
}

function flag(value: unknown): boolean {
  return typeof value === "string" ? /^(true|yes|on|t|y|1)$/i.test(value) : value === true || value === 1;
}
