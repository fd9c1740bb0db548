import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { ByteSink, ByteSource } from "../internal/byte-stream.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { type CancelToken, tokenFromSignal } from "../internal/cancel-token.ts";
import { errorEvent } from "../protocol/event-stream-text.ts";
import { toOpenAIError } from "../protocol/openai-error.ts";
import { bodyTimeout, bodyTooLarge } from "./body-errors.ts";
import { type BodyLimits, type HttpRequest, type HttpService, isByteSource } from "./http-exchange.ts";
import { noRouteHeader } from "./node-handler.ts";

/** A Web-standard server function. */
export type FetchHandler = (request: Request) => Promise<Response>;

/** The door for runtimes that speak `Request` and `Response`. Costs several times the node:http door. */
export function fetchHandler(service: HttpService): FetchHandler {
  return async (request) => {
    const cancel = tokenFromSignal(request.signal);
    const { status, headers, body } = await service(toHttpRequest(request, cancel));
    const init = { status, headers: headers.filter(([name]) => name !== noRouteHeader).map(([k, v]) => [k, v] as [string, string]) };
    if (isByteSource(body)) return new Response(toReadableStream(body, cancel), init);
    cancel.end();
    return new Response(body === undefined ? null : Buffer.from(body), init);
  };
}

function toHttpRequest(request: Request, cancel: CancelToken): HttpRequest {
  const url = new URL(request.url);
  return {
    method: request.method,
    path: url.pathname,
    query: url.search.slice(1),
    header: (name) => request.headers.get(name) ?? undefined,
    headerNames: () => [...request.headers.keys()],
    readBody: (limits) => readBody(request, limits),
    cancel,
  };
}

async function readBody(request: Request, limits: BodyLimits): Promise<Uint8Array> {
  if (Number(request.headers.get("content-length")) > limits.maxBytes) throw bodyTooLarge(limits.maxBytes);
  if (request.body === null) return new Uint8Array(0);
  const reader = request.body.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  let late = false;
  const timer = limits.clock.setTimer(() => {
    late = true;
    reader.cancel().catch(() => undefined);
  }, limits.timeoutMs);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (late) throw bodyTimeout(limits.timeoutMs);
      if (done) return Buffer.concat(chunks, size);
      size += value.byteLength;
      if (size > limits.maxBytes) throw bodyTooLarge(limits.maxBytes);
      chunks.push(value);
    }
  } finally {
    timer.cancel();
    if (size > limits.maxBytes) reader.cancel().catch(() => undefined);
  }
}

/** A stream that reads from the engine only what the client asks for. */
function toReadableStream(source: ByteSource, cancel: CancelToken): ReadableStream<Uint8Array> {
  let sink: StreamSink | undefined;
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        sink = new StreamSink(controller, cancel);
        source.pipe(sink);
      },
      pull() {
        sink?.onPull();
        source.resume();
      },
      cancel() {
        cancel.cancel(new RequestCancelledError("the client stopped reading"));
        cancel.end();
      },
    },
    { highWaterMark: 1 },
  );
}

class StreamSink implements ByteSink {
  readonly #controller: ReadableStreamDefaultController<Uint8Array>;
  readonly #cancel: CancelToken;
  #failure: ServeLLMError | undefined;

  constructor(controller: ReadableStreamDefaultController<Uint8Array>, cancel: CancelToken) {
    this.#controller = controller;
    this.#cancel = cancel;
  }

  write(chunk: Uint8Array): boolean {
    this.#controller.enqueue(chunk);
    return (this.#controller.desiredSize ?? 0) > 0;
  }

  end(): void {
    this.#controller.close();
    this.#cancel.end();
  }

  fail(error: ServeLLMError): void {
    this.#failure = error;
    this.#controller.enqueue(errorEvent(toOpenAIError(error).body));
    this.#cancel.end();
  }

  /** Erroring a stream drops what is queued in it, so it waits until the error event was taken. */
  onPull(): void {
    if (this.#failure !== undefined) this.#controller.error(this.#failure);
  }
}
