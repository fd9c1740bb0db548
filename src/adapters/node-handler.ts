import type { IncomingMessage, ServerResponse } from "node:http";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { CancelToken } from "../internal/cancel-token.ts";
import { type HttpRequest, type HttpResponse, type HttpService, isByteSource } from "./http-exchange.ts";
import { type NodeBody, readNodeBody } from "./node-body.ts";
import { setHead, writeHead } from "./response-head.ts";
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
    const exchange = new NodeExchange(request, response);
    if (response.closed || response.destroyed) exchange.onClose();
    else void answer(service, exchange, next);
  };
}

/** One request of node:http and the response that belongs to it. */
class NodeExchange implements HttpRequest, NodeBody {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly cancel = new CancelToken();
  /** The answer is ours, or the next handler's; not one that cuts this request short. */
  answered = false;
  bodyRead = false;

  readonly header = (name: string): string | undefined => {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  };

  readonly headerNames = (): readonly string[] => Object.keys(this.request.headers);

  readonly readBody: HttpRequest["readBody"] = (limits, onProgress) => readNodeBody(this, limits, onProgress);

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.request = request;
    this.response = response;
    const { method = "GET", url = "/" } = request;
    const question = url.indexOf("?");
    this.method = method;
    this.path = question < 0 ? url : url.slice(0, question);
    this.query = question < 0 ? "" : url.slice(question + 1);
    // The response closes when the client leaves, and once it is sent; the request closes as soon as its body was read.
    response.on("close", () => this.onClose());
  }

  onClose(): void {
    // A middleware's timeout, for one, may have answered: what it has finished is not ours to go on with.
    if (!this.response.writableFinished)
      this.cancel.cancel(new RequestCancelledError("the client closed the connection"));
    else if (!this.answered) this.cancel.cancel(answeredElsewhere());
    this.cancel.end();
  }
}

function answeredElsewhere(): RequestCancelledError {
  return new RequestCancelledError("something else on the server answered the request");
}

async function answer(
  service: HttpService,
  exchange: NodeExchange,
  next: ((error?: unknown) => void) | undefined,
): Promise<void> {
  const { response } = exchange;
  try {
    const httpResponse = await service(exchange);
    if (response.destroyed) return;
    if (response.headersSent) {
      // Nobody will read the engine's answer; the end of whatever was sent instead may be far.
      exchange.cancel.cancel(answeredElsewhere());
      exchange.cancel.end();
      return;
    }
    exchange.answered = true;
    if (next === undefined || httpResponse.unserved !== true) {
      send(httpResponse, exchange);
      return;
    }
    exchange.cancel.end();
  } catch (error) {
    // A service never rejects; what comes here is the server's own refusal to send.
    if (next === undefined) response.destroy();
    else next(error);
    return;
  }
  next();
}

function send(answer: HttpResponse, { request, response, bodyRead }: NodeExchange): void {
  const { body } = answer;
  // The rest of an unread body must not be taken for the next request.
  const closes = !request.complete && !bodyRead;
  if (body === undefined) {
    // node:http knows which answers without a body have a length of 0, and which have none.
    setHead(response, answer, { contentLength: undefined, closes });
    response.end();
  } else if (isByteSource(body)) {
    writeHead(response, answer, { contentLength: undefined, closes });
    body.pipe(new ResponseSink(body, response, answer.lastWords));
  } else {
    writeHead(response, answer, { contentLength: body.byteLength, closes });
    sendWhole(response, body);
  }
}
