import type { LLMConfig } from "../../src/config/llm-config.ts";
import { BackPressureError } from "../../src/errors/back-pressure-error.ts";
import { DeploymentUnavailableError } from "../../src/errors/deployment-unavailable-error.ts";
import { EngineStreamError } from "../../src/errors/engine-stream-error.ts";
import { EngineTimeoutError } from "../../src/errors/engine-timeout-error.ts";
import { RequestCancelledError } from "../../src/errors/request-cancelled-error.ts";
import { RequestError } from "../../src/errors/request-error.ts";
import { ServeLLMError } from "../../src/errors/serve-llm-error.ts";
import type { ByteSink, ByteSource } from "../../src/internal/byte-stream.ts";
import { completeAnswer, forwardedAnswer } from "../../src/llm/complete-answer.ts";
import { engineErrorResponse } from "../../src/llm/engine-error-response.ts";
import type { ModelRequest } from "../../src/llm/forward-request.ts";
import type { LLMResponse } from "../../src/llm/llm-response.ts";
import type { LLMServerProtocol } from "../../src/llm/llm-server-protocol.ts";
import { errorEventStatus } from "../../src/protocol/engine-error-body.ts";
import { doneEvent } from "../../src/protocol/event-stream-text.ts";

/** What a recorded model handle yields, one after the other. */
export type ScriptItem =
  | { readonly str: string }
  | { readonly dict: object }
  | { readonly list: readonly ScriptItem[] }
  | { readonly sleep: number }
  | { readonly raise: RaisedError }
  | { readonly type: string; readonly data: Readonly<Record<string, unknown>> };

/** A Python exception. */
export interface RaisedError {
  readonly class: string;
  readonly args: readonly unknown[];
  readonly kwargs?: { readonly headers?: Readonly<Record<string, string>> };
}

/** Answers that are one JSON object, and what vLLM's models put into them by default. */
const wholeAnswers: Readonly<Record<string, { readonly object?: string; readonly dataObject?: string }>> = {
  ChatCompletionResponse: { object: "chat.completion" },
  CompletionResponse: { object: "text_completion" },
  EmbeddingResponse: { object: "list", dataObject: "embedding" },
  ScoreResponse: { object: "list", dataObject: "score" },
  TokenizeResponse: {},
  DetokenizeResponse: {},
  TranscriptionResponse: {},
};
const chunkObjects: Readonly<Record<string, string>> = {
  ChatCompletionStreamResponse: "chat.completion.chunk",
  CompletionStreamResponse: "text_completion",
};

/** `[DONE]` as the last event of a text. */
const endOfStream = /(?<=^|\n)data: \[DONE\]\s*$/;

const origin = { phase: "decode", replica: "scripted#0" } as const;
const oneChoice: typeof forwardedAnswer = (body) => completeAnswer(body, origin, 1);

/** A model deployment that plays a script, with the errors this library's own deployments throw. */
export class ScriptedServer implements LLMServerProtocol {
  readonly llmConfig: LLMConfig;
  /** What reached it. */
  readonly calls: ModelRequest[] = [];
  readonly #items: readonly ScriptItem[];
  readonly #timeoutS: number;

  /** @param timeoutS how long it waits for each item */
  constructor(llmConfig: LLMConfig, script: readonly ScriptItem[], timeoutS: number) {
    this.llmConfig = llmConfig;
    this.#items = script.flatMap(unfold);
    this.#timeoutS = timeoutS;
  }

  chat(request: ModelRequest): Promise<LLMResponse> {
    return this.#play(request, oneChoice);
  }

  completions(request: ModelRequest): Promise<LLMResponse> {
    return this.#play(request, oneChoice);
  }

  forward(request: ModelRequest): Promise<LLMResponse> {
    return this.#play(request, forwardedAnswer);
  }

  checkHealth(): void {}

  async #play(request: ModelRequest, readAnswer: typeof forwardedAnswer): Promise<LLMResponse> {
    this.calls.push(request);
    const [first, ...rest] = this.#items;
    if (first === undefined) throw new EngineStreamError(origin, "swallowed");
    const failure = this.#failureOf(first, "firstByteTimeoutMs");
    if (failure !== undefined) throw failure;
    if ("type" in first && first.type in wholeAnswers) {
      const body = readAnswer(Buffer.from(JSON.stringify(wholeAnswer(first))), origin);
      return { kind: "complete", status: 200, contentType: "application/json", body };
    }
    return { kind: "stream", source: this.#source([first, ...rest]) };
  }

  #source(items: readonly ScriptItem[]): ByteSource {
    const pipe = (sink: ByteSink): void => {
      for (const item of items) {
        const failure = this.#failureOf(item, "interTokenTimeoutMs");
        if (failure !== undefined) {
          sink.fail(failure as ServeLLMError);
          return;
        }
        const text = eventText(item);
        const events = text.replace(endOfStream, "");
        if (events !== "") sink.write(Buffer.from(events));
        // What follows the end is no part of the answer.
        if (events !== text) break;
      }
      sink.write(doneEvent());
      sink.end();
    };
    return { pipe, resume: () => undefined };
  }

  #failureOf(item: ScriptItem, option: string): Error | undefined {
    if ("sleep" in item) {
      return item.sleep > this.#timeoutS
        ? new EngineTimeoutError(origin, option, this.#timeoutS * 1000)
        : undefined;
    }
    if ("raise" in item) return raised(item.raise);
    if (!("type" in item) || item.type !== "ErrorResponse") return undefined;
    return engineErrorResponse(
      origin,
      errorEventStatus(item.data),
      undefined,
      Buffer.from(JSON.stringify(item.data)),
    );
  }
}

function unfold(item: ScriptItem): readonly ScriptItem[] {
  return "list" in item ? item.list.flatMap(unfold) : [item];
}

function eventText(item: ScriptItem): string {
  if ("str" in item) return item.str;
  if ("dict" in item) return `data: ${JSON.stringify(item.dict)}\n\n`;
  if ("type" in item) return `data: ${JSON.stringify({ object: chunkObjects[item.type], ...item.data })}\n\n`;
  return "";
}

function wholeAnswer({
  type,
  data,
}: {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}): object {
  const { object, dataObject } = wholeAnswers[type]!;
  const answer: Record<string, unknown> = { ...(object === undefined ? {} : { object }), ...data };
  if (dataObject !== undefined) {
    answer["data"] = (data["data"] as readonly object[]).map((each) => ({ object: dataObject, ...each }));
  }
  return answer;
}

/** What a deployment of this library throws where Ray's raises. */
function raised({ class: name, args, kwargs }: RaisedError): Error {
  const [first, second, third, fourth] = args;
  switch (name) {
    case "HTTPException": {
      const retryAfter = kwargs?.headers?.["Retry-After"];
      return refusal(
        Number(first),
        String(second),
        retryAfter === undefined ? undefined : Number(retryAfter),
      );
    }
    case "OpenAIHTTPException":
      // A 5xx of Ray's hides its message: here that is an ordinary Error.
      if (Number(first) >= 500) return new Error(String(second));
      return new ServeLLMError(String(second), {
        status: Number(first),
        code: "refused",
        type: String(third),
        cause: new Error(String(fourth)),
      });
    case "BackPressureError":
      return new BackPressureError({
        deployment: "d",
        queued: Number(first),
        maxQueuedRequests: Number(second),
        status: Number(third ?? 503),
        retryAfterS: fourth === undefined ? undefined : Number(fourth),
      });
    case "DeploymentUnavailableError":
      return new DeploymentUnavailableError("d", "it has no replica");
    case "CancelledError":
    case "RequestCancelledError":
      return new RequestCancelledError("the caller gave up");
    case "TimeoutError":
      return new EngineTimeoutError(origin, "firstByteTimeoutMs", 1000);
    case "ValidationError":
      return new RequestError("`n` must be an integer.", { param: "n" });
    default: {
      const status = /^ExceptionWithStatusCode(\d+)$/.exec(name)?.[1];
      return status === undefined
        ? new Error(args.join(" "))
        : refusal(Number(status), String(first), undefined);
    }
  }
}

function refusal(status: number, message: string, retryAfterS: number | undefined): ServeLLMError {
  return new ServeLLMError(message, { status, code: "refused", type: "invalid_request_error", retryAfterS });
}
