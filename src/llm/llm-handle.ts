import { EngineResponseError } from "../errors/engine-response-error.ts";
import { EngineStreamError } from "../errors/engine-stream-error.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { type CancelToken, tokenFromSignal } from "../internal/cancel-token.ts";
import { iterateBytes } from "../internal/iterate-bytes.ts";
import type { Random } from "../internal/random.ts";
import type { GenerateMethod } from "../kv-transfer/kv-connector.ts";
import { decodeEventStream } from "../protocol/chunk-decoder.ts";
import type { JsonObjectIndex } from "../protocol/json-object-index.ts";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequest,
  Completion,
  CompletionChunk,
  CompletionRequest,
} from "../protocol/openai-types.ts";
import type { BeginRequest } from "../serve/application.ts";
import type { LLMResponse } from "./llm-response.ts";
import type { LLMServerProtocol } from "./llm-server-protocol.ts";

/** Options of one call. */
export interface CallOptions {
  /** Stops the call: both engines are told at once. */
  readonly signal?: AbortSignal | undefined;
  /** Id for logs. @default a random one */
  readonly requestId?: string | undefined;
  /** Sticky session key, as the `x-session-id` header. */
  readonly sessionId?: string | undefined;
}

/** @internal What a handle is made from. */
export interface LLMHandleInit {
  readonly begin: BeginRequest;
  readonly random: Random;
  /** Reads and checks a body as over HTTP. */
  readonly parse: (body: Uint8Array, method: GenerateMethod) => ParsedCall;
  readonly serverFor: (model: string | undefined) => LLMServerProtocol;
}

/** @internal */
export interface ParsedCall {
  readonly body: JsonObjectIndex;
  readonly model: string | undefined;
  readonly stream: boolean;
  readonly expectedChoices: number;
  readonly priority: number;
}

/**
 * Calls a model without HTTP: the same checks, the same routing, the same results as parsed objects.
 *
 * @example for await (const chunk of app.handle.chat({ model, messages, stream: true })) { ... }
 */
export class LLMHandle {
  readonly #init: LLMHandleInit;

  constructor(init: LLMHandleInit) {
    this.#init = init;
  }

  /**
   * `POST /v1/chat/completions`. With `stream: true` the chunks as they come; leaving the loop stops the engines.
   *
   * @throws ServeLLMError; with `stream: true` while iterating
   */
  chat(
    body: ChatCompletionRequest & { readonly stream: true },
    options?: CallOptions,
  ): AsyncIterable<ChatCompletionChunk>;
  chat(
    body: ChatCompletionRequest & { readonly stream?: false | null },
    options?: CallOptions,
  ): Promise<ChatCompletion>;
  chat(
    body: ChatCompletionRequest,
    options: CallOptions = {},
  ): AsyncIterable<ChatCompletionChunk> | Promise<ChatCompletion> {
    return body.stream === true
      ? this.#stream<ChatCompletionChunk>("chat", body, options)
      : this.#complete<ChatCompletion>("chat", body, options);
  }

  /**
   * `POST /v1/completions`. With `stream: true` the chunks as they come; leaving the loop stops the engines.
   *
   * @throws ServeLLMError; with `stream: true` while iterating
   */
  completions(
    body: CompletionRequest & { readonly stream: true },
    options?: CallOptions,
  ): AsyncIterable<CompletionChunk>;
  completions(
    body: CompletionRequest & { readonly stream?: false | null },
    options?: CallOptions,
  ): Promise<Completion>;
  completions(
    body: CompletionRequest,
    options: CallOptions = {},
  ): AsyncIterable<CompletionChunk> | Promise<Completion> {
    return body.stream === true
      ? this.#stream<CompletionChunk>("completions", body, options)
      : this.#complete<Completion>("completions", body, options);
  }

  async #complete<Result>(method: GenerateMethod, body: object, options: CallOptions): Promise<Result> {
    const token = tokenFromSignal(options.signal);
    try {
      const response = await this.#call(method, body, options, token);
      if (response.kind === "stream") throw new TypeError("Expected a complete answer, got a stream.");
      return JSON.parse(Buffer.from(response.body).toString()) as Result;
    } finally {
      token.end();
    }
  }

  async *#stream<Chunk>(
    method: GenerateMethod,
    body: object,
    options: CallOptions,
  ): AsyncGenerator<Chunk, void, undefined> {
    const token = tokenFromSignal(options.signal);
    try {
      const response = await this.#call(method, body, options, token);
      if (response.kind === "complete") {
        yield JSON.parse(Buffer.from(response.body).toString()) as Chunk;
        return;
      }
      const bytes = iterateBytes(response.source, () => {
        token.cancel(new RequestCancelledError("the caller stopped reading"));
      });
      const origin = { phase: "stream" as const, replica: "" };
      yield* decodeEventStream<Chunk>(bytes, {
        errorFromEvent: (errorBody, status) => new EngineResponseError(origin, status, errorBody),
        errorFromMalformed: (cause) => new EngineStreamError(origin, "malformed", { cause }),
      });
    } finally {
      token.end();
    }
  }

  async #call(
    method: GenerateMethod,
    body: object,
    options: CallOptions,
    token: CancelToken,
  ): Promise<LLMResponse> {
    await this.#init.begin(token);
    const parsed = this.#init.parse(Buffer.from(JSON.stringify(body)), method);
    const server = this.#init.serverFor(parsed.model);
    return server[method]({
      method,
      body: parsed.body,
      modelId: parsed.model ?? server.llmConfig.modelId,
      stream: parsed.stream,
      requestId: options.requestId ?? this.#init.random.id(),
      sessionId: options.sessionId,
      priority: parsed.priority,
      expectedChoices: parsed.expectedChoices,
      forwardHeaders: [],
      cancel: token,
    });
  }
}
