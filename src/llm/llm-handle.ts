import { type CancelToken, tokenFromSignal } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import type { GenerateMethod } from "../kv-transfer/kv-connector.ts";
import type {
  AudioRequest,
  AudioTranscription,
  AudioTranscriptionChunk,
  DetokenizeRequest,
  DetokenizeResponse,
  EmbeddingRequest,
  EmbeddingResponse,
  MessagesEvent,
  MessagesRequest,
  MessagesResponse,
  MessageTokenCount,
  RerankRequest,
  RerankResponse,
  ResponsesEvent,
  ResponsesRequest,
  ResponsesResponse,
  ScoreRequest,
  ScoreResponse,
  TokenizeRequest,
  TokenizeResponse,
} from "../protocol/forwarded-types.ts";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequest,
  Completion,
  CompletionChunk,
  CompletionRequest,
  ModelCard,
  ModelList,
} from "../protocol/openai-types.ts";
import type { BeginRequest } from "../serve/application-part.ts";
import {
  commandEngines,
  type EngineCommandInit,
  type EngineCommandName,
  type EngineCommandResult,
  engineCommands,
} from "./engine-commands.ts";
import type { ForwardRequest } from "./forward-request.ts";
import { completeAnswer, type SendCall, streamedAnswer } from "./handle-calls.ts";
import type { LLMRequest } from "./llm-request.ts";
import type { LLMServerProtocol } from "./llm-server-protocol.ts";

/** Options of one call. */
export interface CallOptions {
  /** Stops the call: both engines are told at once. */
  readonly signal?: AbortSignal | undefined;
  /** Id for logs. @default a random one */
  readonly requestId?: string | undefined;
  /** Sticky session key, as the `x-session-id` header: after the ingress's `sessionKey` and `sessionField`. */
  readonly sessionId?: string | undefined;
}

/** Calls that go to an engine as they come; each is also a route of the ingress, and a method of {@link LLMHandle}. */
export type ForwardedCallName =
  | "embeddings"
  | "score"
  | "rerank"
  | "tokenize"
  | "detokenize"
  | "transcriptions"
  | "translations"
  | "responses"
  | "messages"
  | "countMessageTokens";

/** @internal What a handle is made from. Bodies are read and checked as over HTTP. */
export interface LLMHandleInit {
  readonly begin: BeginRequest;
  readonly random: Random;
  readonly clock: Clock;
  readonly readGeneration: (body: object, method: GenerateMethod) => ReadGeneration;
  readonly readForwarded: (body: object, name: ForwardedCallName) => Promise<ReadForwarded>;
  readonly serverFor: (model: string | undefined) => LLMServerProtocol;
  readonly listModels: () => Promise<readonly object[]>;
  readonly modelCard: (id: string) => Promise<object>;
}

type CallFields = "modelId" | "requestId" | "sessionId" | "forwardHeaders" | "cancel" | "onTrace" | "method";

/** @internal The part of a generation request that its body says; `model` as the client named it. */
export interface ReadGeneration extends Omit<LLMRequest, CallFields> {
  readonly model: string | undefined;
  /** Session key by the options of the ingress. */
  readonly sessionId?: string | undefined;
}

/** @internal The part of a forwarded request that its body and its route say. */
export interface ReadForwarded extends Omit<ForwardRequest, CallFields> {
  readonly model: string | undefined;
}

type Streamed = { readonly stream: true };
type Whole = { readonly stream?: false | null };

/**
 * Calls models without HTTP: the same checks, the same routing, the same results as parsed objects. Every method throws
 * a ServeLLMError where HTTP has an error body. With `stream: true` a method gives the events as they come and throws
 * while they are read; leaving the loop stops the engines.
 *
 * Mirrors Ray's handles (`handle.options(stream=True).chat.remote(request)`).
 *
 * @example for await (const chunk of app.handle.chat({ model, messages, stream: true })) { ... }
 */
export class LLMHandle {
  readonly #init: LLMHandleInit;

  constructor(init: LLMHandleInit) {
    this.#init = init;
  }

  /** `POST /v1/chat/completions` */
  chat(body: ChatCompletionRequest & Streamed, options?: CallOptions): AsyncIterable<ChatCompletionChunk>;
  chat(body: ChatCompletionRequest & Whole, options?: CallOptions): Promise<ChatCompletion>;
  chat(body: ChatCompletionRequest, options?: CallOptions): unknown {
    return this.#generate("chat", body, options);
  }

  /** `POST /v1/completions` */
  completions(body: CompletionRequest & Streamed, options?: CallOptions): AsyncIterable<CompletionChunk>;
  completions(body: CompletionRequest & Whole, options?: CallOptions): Promise<Completion>;
  completions(body: CompletionRequest, options?: CallOptions): unknown {
    return this.#generate("completions", body, options);
  }

  /** `POST /v1/embeddings` */
  embeddings(body: EmbeddingRequest, options?: CallOptions): Promise<EmbeddingResponse> {
    return this.#forward("embeddings", body, options) as Promise<EmbeddingResponse>;
  }

  /** `POST /v1/score` */
  score(body: ScoreRequest, options?: CallOptions): Promise<ScoreResponse> {
    return this.#forward("score", body, options) as Promise<ScoreResponse>;
  }

  /** `POST /v1/rerank` */
  rerank(body: RerankRequest, options?: CallOptions): Promise<RerankResponse> {
    return this.#forward("rerank", body, options) as Promise<RerankResponse>;
  }

  /** `POST /tokenize` */
  tokenize(body: TokenizeRequest, options?: CallOptions): Promise<TokenizeResponse> {
    return this.#forward("tokenize", body, options) as Promise<TokenizeResponse>;
  }

  /** `POST /detokenize` */
  detokenize(body: DetokenizeRequest, options?: CallOptions): Promise<DetokenizeResponse> {
    return this.#forward("detokenize", body, options) as Promise<DetokenizeResponse>;
  }

  /** `POST /v1/audio/transcriptions`. A string for the text formats. */
  transcriptions(
    body: AudioRequest & Streamed,
    options?: CallOptions,
  ): AsyncIterable<AudioTranscriptionChunk>;
  transcriptions(
    body: AudioRequest & Whole & { readonly response_format: "text" | "srt" | "vtt" },
    options?: CallOptions,
  ): Promise<string>;
  transcriptions(body: AudioRequest & Whole, options?: CallOptions): Promise<AudioTranscription>;
  transcriptions(body: AudioRequest, options?: CallOptions): unknown {
    return this.#forward("transcriptions", body, options);
  }

  /** `POST /v1/audio/translations`. A string for the text formats. */
  translations(body: AudioRequest & Streamed, options?: CallOptions): AsyncIterable<AudioTranscriptionChunk>;
  translations(
    body: AudioRequest & Whole & { readonly response_format: "text" | "srt" | "vtt" },
    options?: CallOptions,
  ): Promise<string>;
  translations(body: AudioRequest & Whole, options?: CallOptions): Promise<AudioTranscription>;
  translations(body: AudioRequest, options?: CallOptions): unknown {
    return this.#forward("translations", body, options);
  }

  /** `POST /v1/responses` */
  responses(body: ResponsesRequest & Streamed, options?: CallOptions): AsyncIterable<ResponsesEvent>;
  responses(body: ResponsesRequest & Whole, options?: CallOptions): Promise<ResponsesResponse>;
  responses(body: ResponsesRequest, options?: CallOptions): unknown {
    return this.#forward("responses", body, options);
  }

  /** `POST /v1/messages` */
  messages(body: MessagesRequest & Streamed, options?: CallOptions): AsyncIterable<MessagesEvent>;
  messages(body: MessagesRequest & Whole, options?: CallOptions): Promise<MessagesResponse>;
  messages(body: MessagesRequest, options?: CallOptions): unknown {
    return this.#forward("messages", body, options);
  }

  /** `POST /v1/messages/count_tokens` */
  countMessageTokens(body: MessagesRequest & Whole, options?: CallOptions): Promise<MessageTokenCount> {
    return this.#forward("countMessageTokens", body, options) as Promise<MessageTokenCount>;
  }

  /** `GET /v1/models` */
  async models(): Promise<ModelList> {
    return { object: "list", data: (await this.#init.listModels()) as ModelCard[] };
  }

  /** `GET /v1/models/{model}` */
  async modelData(model: string): Promise<ModelCard> {
    return (await this.#init.modelCard(model)) as ModelCard;
  }

  /**
   * Tells every engine of a model to sleep, wake up, reset its prefix cache and so on. Unlike over HTTP no guard is
   * asked. Ray's `sleep`, `wakeup`, `reset_prefix_cache` ... of a handle.
   *
   * @returns what each engine said, failures included
   * @throws RequestError for an unknown model or deployment, DeploymentUnavailableError when no engine is known
   */
  async commandEngines(
    name: EngineCommandName,
    init: EngineCommandInit & { readonly model?: string | undefined } = {},
    options: Pick<CallOptions, "signal"> = {},
  ): Promise<readonly EngineCommandResult[]> {
    const { begin, clock, serverFor } = this.#init;
    const cancel = tokenFromSignal(options.signal);
    try {
      await begin(cancel);
      const { enginePools = [] } = serverFor(init.model);
      return await commandEngines(enginePools, engineCommands[name], init, { clock, cancel });
    } finally {
      cancel.end();
    }
  }

  #generate(method: GenerateMethod, body: GenerationBody, options: CallOptions = {}): unknown {
    return this.#answer(body, options, async (cancel) => {
      await this.#init.begin(cancel);
      const { model, sessionId = options.sessionId, ...read } = this.#init.readGeneration(body, method);
      const server = this.#init.serverFor(model);
      const fields = this.#fields(model, server, { ...options, sessionId }, cancel);
      return server[method]({ method, ...read, ...fields });
    });
  }

  #forward(name: ForwardedCallName, body: ForwardedBody, options: CallOptions = {}): unknown {
    return this.#answer(body, options, async (cancel) => {
      await this.#init.begin(cancel);
      const { model, ...read } = await this.#init.readForwarded(body, name);
      const server = this.#init.serverFor(model);
      return server.forward({ method: "forward", ...read, ...this.#fields(model, server, options, cancel) });
    });
  }

  #answer(body: { readonly stream?: unknown }, { signal }: CallOptions, send: SendCall): unknown {
    return body.stream === true ? streamedAnswer(send, signal) : completeAnswer(send, signal);
  }

  #fields(
    model: string | undefined,
    server: LLMServerProtocol,
    { requestId, sessionId }: CallOptions,
    cancel: CancelToken,
  ): Pick<LLMRequest, "modelId" | "requestId" | "sessionId" | "forwardHeaders" | "cancel"> {
    return {
      modelId: model ?? server.llmConfig.modelId,
      requestId: requestId ?? this.#init.random.id(),
      sessionId,
      forwardHeaders: [],
      cancel,
    };
  }
}

type GenerationBody = ChatCompletionRequest | CompletionRequest;
type ForwardedBody = object & { readonly stream?: unknown };
