import type { GenerationRequest } from "./generation-request.ts";
import { decodeTokens } from "./mock-tokenizer.ts";
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

/** Writes the answers of `/v1/completions`, byte for byte as vLLM 0.27 does. */
export class CompletionFormat implements ReplyFormat {
  readonly #request: GenerationRequest;
  readonly #fingerprintJson: string;
  readonly #start: string;

  constructor(identity: ReplyIdentity, request: GenerationRequest) {
    this.#request = request;
    this.#fingerprintJson = JSON.stringify(identity.systemFingerprint);
    this.#start =
      `{"id":${JSON.stringify(identity.id)},"object":"text_completion","created":${identity.created},` +
      `"model":${JSON.stringify(identity.model)},"choices":[`;
  }

  opening(): string {
    return "";
  }

  frame(piece: ReplyPiece): string {
    const { choice, end, first, usage } = piece;
    const text = this.#echoed(choice, first) + joinTexts(piece.texts);
    const finish = end === undefined ? "null" : JSON.stringify(end.finishReason);
    const stop = end === undefined ? "null" : JSON.stringify(end.stopReason);
    const fingerprint =
      end === undefined || this.#request.includeUsage ? "" : `,"system_fingerprint":${this.#fingerprintJson}`;
    const usageJson = usage === undefined ? "" : `,"usage":${streamUsageJson(usage)}`;
    return (
      `data: ${this.#start}{"index":${choice},"text":${JSON.stringify(text)},"logprobs":${this.#logprobs(piece)},` +
      `"finish_reason":${finish},"stop_reason":${stop},"prompt_token_ids":${first ? this.#promptIds(choice) : "null"},` +
      `"token_ids":${this.#ids(piece.tokens)}}]${usageJson}${fingerprint}}\n\n`
    );
  }

  usageFrame(usage: ReplyUsage): string {
    return `data: ${this.#start}],"usage":${streamUsageJson(usage)},"system_fingerprint":${this.#fingerprintJson}}\n\n`;
  }

  body(choices: readonly ReplyChoice[], usage: ReplyUsage, kvTransferParams: string | undefined): string {
    const list = choices.map((choice, index) => {
      const text = this.#echoed(index, true) + joinTexts(choice.texts);
      return (
        `{"index":${index},"text":${JSON.stringify(text)},"logprobs":${this.#logprobs(choice)},` +
        `"finish_reason":${JSON.stringify(choice.end.finishReason)},` +
        `"stop_reason":${JSON.stringify(choice.end.stopReason)},"token_ids":${this.#ids(choice.tokens)},` +
        `"prompt_logprobs":null,"prompt_token_ids":${this.#promptIds(index)},"routed_experts":null}`
      );
    });
    const kv = kvTransferParams === undefined ? "" : `"kv_transfer_params":${kvTransferParams},`;
    return (
      `${this.#start}${list.join(",")}],"service_tier":null,"system_fingerprint":${this.#fingerprintJson},` +
      `"usage":${bodyUsageJson(usage)},${kv}"ec_transfer_params":null,"metrics":null}`
    );
  }

  #prompt(choice: number): readonly number[] {
    return this.#request.prompts[Math.floor(choice / this.#request.n)] ?? [];
  }

  #echoed(choice: number, first: boolean): string {
    return this.#request.echo && first ? decodeTokens(this.#prompt(choice)) : "";
  }

  #promptIds(choice: number): string {
    return this.#request.returnTokenIds ? JSON.stringify(this.#prompt(choice)) : "null";
  }

  #ids(tokens: readonly number[]): string {
    return this.#request.returnTokenIds ? JSON.stringify(tokens) : "null";
  }

  #logprobs(piece: { readonly tokens: readonly number[]; readonly texts: readonly string[] }): string {
    const alternatives = this.#request.logprobs;
    if (alternatives === undefined) return "null";
    let position = 0;
    const textOffset = piece.texts.map((text) => {
      position += text.length;
      return position - text.length;
    });
    return JSON.stringify({
      text_offset: textOffset,
      token_logprobs: piece.tokens.map((token) => mockLogprob(token, 0)),
      tokens: piece.texts,
      top_logprobs: piece.tokens.map((token, index) => ({
        [piece.texts[index] ?? ""]: mockLogprob(token, 0),
      })),
    });
  }
}
