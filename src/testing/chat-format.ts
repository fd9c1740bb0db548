import type { GenerationRequest } from "./generation-request.ts";
import { mix } from "./mock-tokenizer.ts";
import {
  bodyUsageJson,
  joinTexts,
  mockLogprob,
  streamUsageJson,
  type ReplyChoice,
  type ReplyFormat,
  type ReplyIdentity,
  type ReplyPiece,
  type ReplyUsage,
} from "./reply-format.ts";

/** Writes the answers of `/v1/chat/completions`, byte for byte as vLLM 0.27 does. */
export class ChatFormat implements ReplyFormat {
  readonly #request: GenerationRequest;
  readonly #fingerprintJson: string;
  readonly #frameStart: string;
  readonly #identity: ReplyIdentity;

  constructor(identity: ReplyIdentity, request: GenerationRequest) {
    this.#identity = identity;
    this.#request = request;
    this.#fingerprintJson = JSON.stringify(identity.systemFingerprint);
    this.#frameStart =
      `data: {"id":${JSON.stringify(identity.id)},"object":"chat.completion.chunk","created":${identity.created},` +
      `"model":${JSON.stringify(identity.model)},"choices":[`;
  }

  opening(choice: number, usage: ReplyUsage | undefined): string {
    const promptTokenIds = this.#request.returnTokenIds ? JSON.stringify(this.#request.prompts[0]) : "null";
    return (
      `${this.#frameStart}{"index":${choice},"delta":{"role":"assistant","content":""},"logprobs":null,` +
      `"finish_reason":null}]${usageField(usage)},"prompt_token_ids":${promptTokenIds},"prompt_text":null}\n\n`
    );
  }

  frame(piece: ReplyPiece): string {
    const { choice, end, usage } = piece;
    const ids = this.#request.returnTokenIds ? JSON.stringify(piece.tokens) : "null";
    const stop = end === undefined ? "" : `,"stop_reason":${JSON.stringify(end.stopReason)}`;
    const finish = end === undefined ? "null" : JSON.stringify(end.finishReason);
    const fingerprint =
      end === undefined || this.#request.includeUsage ? "" : `,"system_fingerprint":${this.#fingerprintJson}`;
    return (
      `${this.#frameStart}{"index":${choice},"delta":${this.#delta(piece)},` +
      `"logprobs":${this.#logprobs(piece)},"finish_reason":${finish}${stop},"token_ids":${ids}}]` +
      `${usageField(usage)}${fingerprint}}\n\n`
    );
  }

  usageFrame(usage: ReplyUsage): string {
    return `${this.#frameStart}],"usage":${streamUsageJson(usage)},"system_fingerprint":${this.#fingerprintJson}}\n\n`;
  }

  body(choices: readonly ReplyChoice[], usage: ReplyUsage, kvTransferParams: string | undefined): string {
    const { id, created, model } = this.#identity;
    const list = choices.map((choice, index) => {
      const { finishReason, stopReason } = choice.end;
      const ids = this.#request.returnTokenIds ? JSON.stringify(choice.tokens) : "null";
      return (
        `{"index":${index},"message":${this.#message(choice, index)},"logprobs":${this.#logprobs(choice)},` +
        `"finish_reason":${JSON.stringify(finishReason)},"stop_reason":${JSON.stringify(stopReason)},` +
        `"token_ids":${ids},"routed_experts":null}`
      );
    });
    const promptTokenIds = this.#request.returnTokenIds ? JSON.stringify(this.#request.prompts[0]) : "null";
    const kv = kvTransferParams === undefined ? "" : `"kv_transfer_params":${kvTransferParams},`;
    return (
      `{"id":${JSON.stringify(id)},"object":"chat.completion","created":${created},"model":${JSON.stringify(model)},` +
      `"choices":[${list.join(",")}],"service_tier":null,"system_fingerprint":${this.#fingerprintJson},` +
      `"usage":${bodyUsageJson(usage)},"prompt_logprobs":null,"prompt_token_ids":${promptTokenIds},` +
      `"prompt_text":null,${kv}"ec_transfer_params":null,"metrics":null}`
    );
  }

  #delta(piece: ReplyPiece): string {
    const { toolCall } = this.#request;
    const text = JSON.stringify(joinTexts(piece.texts));
    if (toolCall === undefined) return `{"content":${text}}`;
    const call = `"index":0,"function":{`;
    if (!piece.first) return `{"tool_calls":[{${call}"arguments":${text}}}]}`;
    const name = `"name":${JSON.stringify(toolCall.name)},"arguments":${text}`;
    return `{"tool_calls":[{"id":${this.#toolCallId(piece.choice)},"type":"function",${call}${name}}}]}`;
  }

  #message(choice: ReplyChoice, index: number): string {
    const { toolCall } = this.#request;
    const text = JSON.stringify(joinTexts(choice.texts));
    const content = toolCall === undefined ? text : `""`;
    const calls =
      toolCall === undefined
        ? ""
        : `"tool_calls":[{"id":${this.#toolCallId(index)},"type":"function","function":` +
          `{"name":${JSON.stringify(toolCall.name)},"arguments":${text}}}],`;
    return (
      `{"role":"assistant","content":${content},"refusal":null,"annotations":null,"audio":null,` +
      `"function_call":null,${calls}"reasoning":null}`
    );
  }

  /** Ids look random and yet are the same each time the same request is answered. */
  #toolCallId(choice: number): string {
    let hash = choice + 1;
    for (const character of this.#identity.id) hash = mix(hash ^ (character.codePointAt(0) ?? 0));
    let digits = "";
    for (let part = 0; part < 4; part++)
      digits += mix(hash + part)
        .toString(16)
        .padStart(8, "0");
    return `"chatcmpl-tool-${digits}"`;
  }

  #logprobs(piece: { readonly tokens: readonly number[]; readonly texts: readonly string[] }): string {
    const alternatives = this.#request.logprobs;
    if (alternatives === undefined) return "null";
    const content = piece.tokens.map((token, index) => {
      const text = piece.texts[index] ?? "";
      const entry = (rank: number): object => ({
        token: text,
        logprob: mockLogprob(token, rank),
        bytes: [...new TextEncoder().encode(text)],
      });
      return { ...entry(0), top_logprobs: Array.from({ length: alternatives }, (_, rank) => entry(rank)) };
    });
    return JSON.stringify({ content });
  }
}

function usageField(usage: ReplyUsage | undefined): string {
  return usage === undefined ? "" : `,"usage":${streamUsageJson(usage)}`;
}
