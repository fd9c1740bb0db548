import type { IncomingMessage, ServerResponse } from "node:http";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import { type HttpRequest, type HttpResponse, type HttpService, isByteSource } from "./http-exchange.ts";
import { readNodeBody } from "./node-body.ts";
import { ResponseSink, sendWhole } from "./response-sink.ts";

/** A request listener of node:http that is also Express middleware. */
export type NodeHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  next?: (error?: unknown) => void,
) => void;

/**
 * The door for node:http and Express.
 *
 * Works before and after body parsers. With `next` (Express) a path that is not served goes on to the next handler.
 */
export function nodeHandler(service: HttpService): NodeHandler {
  return (request, response, next) => {
    const cancel = new CancelToken();
    const answered = { byUs: false };
    // A middleware's timeout, for one, may have answered: what it has finished is not ours to go on with.
    response.on("finish", () => {
      if (!answered.byUs) cancel.cancel(answeredElsewhere());
    });
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
    void answer(service, toHttpRequest(request, cancel), request, response, answered, next);
  };
}

function answeredElsewhere(): RequestCancelledError {
  return new RequestCancelledError("something else on the server answered the request");
}

async function answer(
  service: HttpService,
  httpRequest: HttpRequest,
  request: IncomingMessage,
  response: ServerResponse,
  answered: { byUs: boolean },
  next: ((error?: unknown) => void) | undefined,
): Promise<void> {
  try {
    const httpResponse = await service(httpRequest);
    if (response.destroyed) return;
    if (response.headersSent) {
      // Nobody will read the engine's answer; the end of whatever was sent instead may be far.
      httpRequest.cancel.cancel(answeredElsewhere());
      httpRequest.cancel.end();
      return;
    }
    // Also when the next handler answers: its answer is none that this request was cut short by.
    answered.byUs = true;
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
    readBody: (limits, onProgress) => readNodeBody(request, limits, onProgress),
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
    sendWhole(response, body);
    return;
  }
  body.pipe(new ResponseSink(body, response, lastWords));
}
