import { createParser } from "eventsource-parser";

import { type ClientConfigInit, clientConfigSchema } from "../config/client-config.ts";
import { parseConfig } from "../config/parse-config.ts";
import { EngineTimeoutError } from "../errors/engine-timeout-error.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { Clock } from "../internal/clock.ts";
import { asJsonObject, parseEngineJson } from "../protocol/engine-json.ts";
import { EndpointClient } from "../replicas/endpoint-client.ts";
import type { ChatTurnMessage } from "./conversation.ts";

/** A chat request of a run. */
export interface TargetRequest {
  readonly messages: readonly ChatTurnMessage[];
  readonly outputTokens: number;
}

/** How it went. */
export interface TargetAnswer {
  readonly text: string;
  readonly promptTokens: number | undefined;
  readonly outputTokens: number | undefined;
  /** As `Measurement.error`. */
  readonly error: string | undefined;
}

/** What load is put on. */
export interface BenchmarkTarget {
  /** Sends a request; never rejects. @param onPiece called when a piece of the answer comes */
  send(request: TargetRequest, onPiece: () => void, signal: AbortSignal): Promise<TargetAnswer>;
  close(): Promise<void>;
}

/** How an endpoint is asked. */
export interface OpenAITargetOptions {
  /** Base URL without `/v1`. */
  readonly url: string;
  readonly model: string;
  readonly apiKey?: string | undefined;
  /** Milliseconds a request may take. */
  readonly timeoutMs: number;
  /** Asks engines to go on to the last token (vLLM's `ignore_eos`), so that answers have the length that was drawn. */
  readonly ignoreEos: boolean;
  readonly clock: Clock;
}

/** Streams chat completions from an OpenAI endpoint. */
export class OpenAITarget implements BenchmarkTarget {
  readonly #options: OpenAITargetOptions;
  readonly #http: EndpointClient;

  constructor(options: OpenAITargetOptions) {
    this.#options = options;
    const init: ClientConfigInit = { apiKey: options.apiKey };
    const client = parseConfig(clientConfigSchema, init, "client");
    this.#http = new EndpointClient({ url: options.url }, client, options.url);
  }

  send(request: TargetRequest, onPiece: () => void, signal: AbortSignal): Promise<TargetAnswer> {
    const { model, timeoutMs, ignoreEos, clock } = this.#options;
    const body = JSON.stringify({
      model,
      messages: request.messages,
      max_tokens: request.outputTokens,
      ...(ignoreEos ? { ignore_eos: true } : {}),
      stream: true,
      stream_options: { include_usage: true },
    });
    const origin = { phase: "total", replica: this.#options.url } as const;
    return new Promise((resolve) => {
      const reader = new AnswerReader(onPiece);
      const settle = (error: string | undefined): void => {
        timer.cancel();
        signal.removeEventListener("abort", stop);
        resolve(reader.answer(error));
      };
      const exchange = this.#http.dispatch(
        {
          method: "POST",
          path: "/v1/chat/completions",
          headers: ["content-type", "application/json"],
          body: [Buffer.from(body)],
          phase: "total",
        },
        {
          onHeaders: (status) => reader.begin(status),
          onData: (chunk) => {
            reader.feed(chunk);
            return true;
          },
          onEnd: () => settle(undefined),
          onError: (error: ServeLLMError) => settle(error.code),
        },
      );
      const timer = clock.setTimer(
        () => exchange.abort(new EngineTimeoutError(origin, "timeoutMs", timeoutMs)),
        timeoutMs,
        { keepAlive: true },
      );
      const stop = (): void => exchange.abort(new RequestCancelledError("the run was stopped"));
      if (signal.aborted) stop();
      else signal.addEventListener("abort", stop, { once: true });
    });
  }

  close(): Promise<void> {
    return this.#http.destroy();
  }
}

/** Reads the events of one answer. */
class AnswerReader {
  readonly #decoder = new TextDecoder();
  readonly #onPiece: () => void;
  readonly #parser = createParser({ onEvent: ({ data }) => this.#onData(data) });
  #status = 0;
  #text = "";
  #promptTokens: number | undefined;
  #outputTokens: number | undefined;
  #failure: string | undefined;
  #done = false;

  constructor(onPiece: () => void) {
    this.#onPiece = onPiece;
  }

  begin(status: number): void {
    this.#status = status;
  }

  feed(chunk: Uint8Array): void {
    if (this.#status === 200) this.#parser.feed(this.#decoder.decode(chunk, { stream: true }));
  }

  /** @param error why the connection ended, when not by itself */
  answer(error: string | undefined): TargetAnswer {
    const failure =
      error ??
      (this.#status === 200
        ? (this.#failure ?? (this.#done ? undefined : "incomplete stream"))
        : `status ${this.#status}`);
    return {
      text: this.#text,
      promptTokens: this.#promptTokens,
      outputTokens: this.#outputTokens,
      error: failure,
    };
  }

  #onData(data: string): void {
    if (data === "[DONE]") {
      this.#done = true;
      return;
    }
    let chunk: Readonly<Record<string, unknown>> | undefined;
    try {
      chunk = asJsonObject(parseEngineJson(data));
    } catch {
      this.#failure ??= "malformed event";
      return;
    }
    if (chunk?.["error"] !== undefined && chunk["error"] !== null) this.#failure ??= "error in the stream";
    const [choice] = Array.isArray(chunk?.["choices"]) ? (chunk["choices"] as unknown[]) : [];
    const {
      content,
      reasoning,
      reasoning_content: olderReasoning,
    } = asJsonObject(asJsonObject(choice)?.["delta"]) ?? {};
    if (typeof content === "string") this.#text += content;
    // The first event of vLLM has a role and an empty text: no token yet.
    if ([content, reasoning, olderReasoning].some((piece) => typeof piece === "string" && piece !== "")) {
      this.#onPiece();
    }
    const { prompt_tokens: prompt, completion_tokens: output } = asJsonObject(chunk?.["usage"]) ?? {};
    if (typeof prompt === "number") this.#promptTokens = prompt;
    if (typeof output === "number") this.#outputTokens = output;
  }
}
