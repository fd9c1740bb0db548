import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { ByteSink, ByteSource } from "../internal/byte-stream.ts";
import { type CancelToken, tokenFromSignal } from "../internal/cancel-token.ts";
import { onNextTurn } from "../internal/next-turn.ts";
import { ArrivingBody } from "./arriving-body.ts";
import { bodyTimeout, bodyTooLarge } from "./body-errors.ts";
import {
  type BodyLimits,
  type HttpRequest,
  type HttpResponse,
  type HttpService,
  isByteSource,
} from "./http-exchange.ts";

/** A Web-standard server function. */
export type FetchHandler = (request: Request) => Promise<Response>;

/** The door for runtimes that speak `Request` and `Response`. Costs several times the node:http door. */
export function fetchHandler(service: HttpService): FetchHandler {
  return async (request) => {
    const cancel = tokenFromSignal(request.signal);
    const { status, headers, body, lastWords } = await service(toHttpRequest(request, cancel));
    const init = { status, headers: headers.map(([name, value]): [string, string] => [name, value]) };
    if (isByteSource(body)) return new Response(toReadableStream(body, cancel, lastWords), init);
    cancel.end();
    if (body !== undefined) init.headers.push(["content-length", String(body.byteLength)]);
    // An empty body is none: some statuses may not have one at all.
    const isEmpty = body === undefined || body.byteLength === 0 || request.method === "HEAD";
    return new Response(isEmpty ? null : (body as Uint8Array<ArrayBuffer>), init);
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
    readBody: (limits, onProgress) => readBody(request, limits, onProgress),
    cancel,
  };
}

async function readBody(
  request: Request,
  limits: BodyLimits,
  onProgress?: (bytes: Uint8Array) => void,
): Promise<Uint8Array> {
  const length = request.headers.get("content-length");
  const announced = length === null ? undefined : Number(length);
  if (announced !== undefined && announced > limits.maxBytes) throw bodyTooLarge(limits.maxBytes);
  if (request.body === null) return new Uint8Array(0);
  const reader = request.body.getReader();
  const body = new ArrivingBody(announced);
  let failure: ServeLLMError | undefined;
  const stop = (error: ServeLLMError): void => {
    failure ??= error;
    reader.cancel(error).catch(() => undefined);
  };
  const timer = limits.clock.setTimer(() => stop(bodyTimeout(limits.timeoutMs)), limits.timeoutMs);
  try {
    for (;;) {
      const { done, value } = await readChunk(reader);
      if (failure !== undefined) throw failure;
      if (done) return body.bytes;
      if (body.size + value.byteLength > limits.maxBytes) {
        stop(bodyTooLarge(limits.maxBytes));
        continue;
      }
      body.append(value);
      if (body.size !== announced) onProgress?.(body.bytes);
    }
  } finally {
    timer.cancel();
  }
}

type BodyReader = ReadableStreamDefaultReader<Uint8Array>;

async function readChunk(reader: BodyReader): Promise<Awaited<ReturnType<BodyReader["read"]>>> {
  try {
    return await reader.read();
  } catch (cause) {
    throw new RequestCancelledError("the client left while sending its request", { cause });
  }
}

/** A stream that reads from the engine only what the client asks for. */
function toReadableStream(
  source: ByteSource,
  cancel: CancelToken,
  lastWords: HttpResponse["lastWords"],
): ReadableStream<Uint8Array> {
  let sink: StreamSink | undefined;
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        sink = new StreamSink(controller, cancel, lastWords);
        source.pipe(sink);
      },
      pull() {
        sink?.onPull();
        source.resume();
      },
      cancel() {
        sink?.close();
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
  readonly #lastWords: HttpResponse["lastWords"];
  #failure: ServeLLMError | undefined;
  #ending = false;
  #closed = false;

  constructor(
    controller: ReadableStreamDefaultController<Uint8Array>,
    cancel: CancelToken,
    lastWords: HttpResponse["lastWords"],
  ) {
    this.#controller = controller;
    this.#cancel = cancel;
    this.#lastWords = lastWords;
  }

  write(chunk: Uint8Array): boolean {
    if (this.#closed) return true;
    this.#controller.enqueue(chunk);
    return (this.#controller.desiredSize ?? 0) > 0;
  }

  end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#controller.close();
    this.#cancel.end();
  }

  fail(error: ServeLLMError): void {
    if (this.#closed || this.#failure !== undefined) return;
    this.#failure = error;
    const lastWords = this.#lastWords?.(error);
    if (lastWords !== undefined) this.#controller.enqueue(lastWords);
    this.#cancel.end();
    if ((this.#controller.desiredSize ?? 0) > 0) this.onPull();
  }

  /**
   * Erroring a stream drops what is queued in it, so it waits until the last words were taken; and a turn more, since
   * servers (Hono's on Node) destroy the socket at once, with what they have written and Node has not sent yet.
   */
  onPull(): void {
    const failure = this.#failure;
    if (failure === undefined || this.#closed || this.#ending) return;
    this.#ending = true;
    onNextTurn(() => {
      if (this.#closed) return;
      this.#closed = true;
      this.#controller.error(failure);
    });
  }

  /** The reader left: nothing can be written any more. */
  close(): void {
    this.#closed = true;
  }
}
