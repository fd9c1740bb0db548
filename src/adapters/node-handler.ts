import type { IncomingMessage, ServerResponse } from "node:http";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { ByteSink, ByteSource } from "../internal/byte-stream.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import { type HttpRequest, type HttpResponse, type HttpService, isByteSource } from "./http-exchange.ts";
import { readNodeBody } from "./node-body.ts";

/** A request listener of node:http that is also Express middleware. */
export type NodeHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  next?: (error?: unknown) => void,
) => void;

/** How long a client whose answer broke may take to read to its end, milliseconds. */
const lastWordsTimeoutMs = 5000;

/**
 * The door for node:http and Express.
 *
 * Works before and after body parsers. With `next` (Express) a path that is not served goes on to the next handler.
 */
export function nodeHandler(service: HttpService): NodeHandler {
  return (request, response, next) => {
    const cancel = new CancelToken();
    // The response closes when the client leaves; the request closes as soon as its body was read.
    response.on("close", () => {
      if (!response.writableFinished)
        cancel.cancel(new RequestCancelledError("the client closed the connection"));
      cancel.end();
    });
    if (response.closed || response.destroyed) {
      cancel.cancel(new RequestCancelledError("the client closed the connection"));
      cancel.end();
      return;
    }
    void answer(service, toHttpRequest(request, cancel), request, response, next);
  };
}

async function answer(
  service: HttpService,
  httpRequest: HttpRequest,
  request: IncomingMessage,
  response: ServerResponse,
  next: ((error?: unknown) => void) | undefined,
): Promise<void> {
  try {
    const httpResponse = await service(httpRequest);
    if (response.destroyed || response.headersSent) return;
    if (next === undefined || httpResponse.unserved !== true) {
      send(httpResponse, request, response);
      return;
    }
    httpRequest.cancel.end();
  } catch (error) {
    // A service never rejects; what comes here is the server's own refusal to send.
    if (next === undefined) response.destroy();
    else next(error);
    return;
  }
  next();
}

function toHttpRequest(request: IncomingMessage, cancel: CancelToken): HttpRequest {
  const url = request.url ?? "/";
  const question = url.indexOf("?");
  return {
    method: request.method ?? "GET",
    path: question < 0 ? url : url.slice(0, question),
    query: question < 0 ? "" : url.slice(question + 1),
    header: (name) => {
      const value = request.headers[name];
      return Array.isArray(value) ? value.join(", ") : value;
    },
    headerNames: () => Object.keys(request.headers),
    readBody: (limits) => readNodeBody(request, limits),
    cancel,
  };
}

function send(
  { status, headers, body, lastWords }: HttpResponse,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  response.statusCode = status;
  // The rest of an unread body must not be taken for the next request.
  if (!request.complete) response.setHeader("connection", "close");
  for (const [name, value] of headers) response.setHeader(name, value);
  if (!isByteSource(body)) {
    if (body !== undefined) response.setHeader("content-length", body.byteLength);
    response.end(body);
    return;
  }
  response.flushHeaders();
  body.pipe(new ResponseSink(body, response, lastWords));
}

/** Writes to a client: everything read from the engine's socket at once goes out in one write. */
class ResponseSink implements ByteSink {
  readonly #source: ByteSource;
  readonly #response: ServerResponse;
  readonly #lastWords: HttpResponse["lastWords"];
  readonly #flush: (() => void) | undefined;
  #corked = false;
  #full = false;

  constructor(source: ByteSource, response: ServerResponse, lastWords: HttpResponse["lastWords"]) {
    this.#source = source;
    this.#response = response;
    this.#lastWords = lastWords;
    // The compression middleware buffers events until it is told to flush.
    const { flush } = response as { flush?: unknown };
    this.#flush = typeof flush === "function" ? () => flush.call(response) : undefined;
    response.on("drain", this.#onDrain);
  }

  write(chunk: Uint8Array): boolean {
    const response = this.#response;
    if (response.destroyed) return true;
    if (!this.#corked) {
      this.#corked = true;
      response.cork();
      process.nextTick(this.#uncork);
    }
    if (response.write(chunk)) return true;
    this.#full = true;
    return false;
  }

  end(): void {
    this.#response.end();
  }

  fail(error: ServeLLMError): void {
    const response = this.#response;
    if (response.destroyed) return;
    const lastWords = this.#lastWords?.(error);
    if (lastWords === undefined) {
      response.destroy();
      return;
    }
    // Destroying before the write is out could lose the words themselves; a client that does not read can't have them.
    response.write(lastWords, () => response.destroy());
    response.setTimeout(lastWordsTimeoutMs, () => response.destroy());
    this.#flush?.();
  }

  readonly #uncork = (): void => {
    this.#corked = false;
    this.#response.uncork();
    this.#flush?.();
  };

  readonly #onDrain = (): void => {
    if (!this.#full) return;
    this.#full = false;
    this.#source.resume();
  };
}
