import { EngineResponseError } from "../errors/engine-response-error.ts";
import { EngineStreamError } from "../errors/engine-stream-error.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { type CancelToken, tokenFromSignal } from "../internal/cancel-token.ts";
import { iterateBytes } from "../internal/iterate-bytes.ts";
import { decodeEventStream } from "../protocol/chunk-decoder.ts";
import type { CompleteResponse, LLMResponse } from "./llm-response.ts";

/** Makes one call whose token is given; what comes back is a deployment's answer. */
export type SendCall = (cancel: CancelToken) => Promise<LLMResponse>;

/**
 * A whole answer: JSON parsed, text as a string, anything else as bytes. The signal stops the call.
 *
 * @throws ServeLLMError
 */
export async function completeAnswer(send: SendCall, signal: AbortSignal | undefined): Promise<unknown> {
  const token = tokenFromSignal(signal);
  try {
    const response = await send(token);
    if (response.kind === "stream") throw new TypeError("Expected a complete answer, got a stream.");
    return contentOf(response);
  } finally {
    token.end();
  }
}

/**
 * The events of a stream as they come, parsed. Whoever leaves the loop, or fires the signal, stops the engines. An
 * engine that answers whole all the same gives one item.
 *
 * @throws ServeLLMError while iterating
 */
export async function* streamedAnswer(
  send: SendCall,
  signal: AbortSignal | undefined,
): AsyncGenerator<unknown, void, undefined> {
  const token = tokenFromSignal(signal);
  try {
    const response = await send(token);
    if (response.kind === "complete") {
      yield contentOf(response);
      return;
    }
    const bytes = iterateBytes(response.source, () => {
      token.cancel(new RequestCancelledError("the caller stopped reading"));
    });
    const origin = { phase: "stream" as const, replica: "" };
    yield* decodeEventStream(bytes, {
      errorFromEvent: (errorBody, status) => new EngineResponseError(origin, status, errorBody),
      errorFromMalformed: (cause) => new EngineStreamError(origin, "malformed", { cause }),
    });
  } finally {
    token.end();
  }
}

function contentOf({ contentType, body }: CompleteResponse): unknown {
  const text = (): string => Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString();
  if (/^application\/(?:[\w.+-]+\+)?json\b/.test(contentType)) return JSON.parse(text());
  return contentType.startsWith("text/") ? text() : body;
}
