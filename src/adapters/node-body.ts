import type { IncomingMessage } from "node:http";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { RequestError } from "../errors/request-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import { ArrivingBody } from "./arriving-body.ts";
import { bodyTimeout, bodyTooLarge } from "./body-errors.ts";
import type { BodyLimits } from "./http-exchange.ts";

/** To go on when what runs now is done. */
const settled = Promise.resolve();

/** A request of node:http, and what is known of its body. */
export interface NodeBody {
  readonly request: IncomingMessage;
  /** All of it was read, though node:http may only be about to notice that the request is complete. */
  bodyRead: boolean;
}

/** What body parsers leave on a request. */
type ParsedRequest = IncomingMessage & { readonly rawBody?: unknown; readonly body?: unknown };

/**
 * Reads the body of a node:http request, also when a body parser was here first: its raw bytes when it kept them
 * (`rawBody`), else what it parsed, written out again.
 */
export async function readNodeBody(
  from: NodeBody,
  limits: BodyLimits,
  onProgress?: (bytes: Uint8Array) => void,
): Promise<Uint8Array> {
  const { request } = from;
  const parsed = parsedBody(request, limits.warn);
  if (parsed !== undefined) {
    if (parsed.byteLength > limits.maxBytes) throw bodyTooLarge(limits.maxBytes);
    return parsed;
  }
  if (request.readableEnded) throw bodyConsumed();
  const length = request.headers["content-length"];
  const announced = length === undefined ? undefined : Number(length);
  if (announced !== undefined && announced > limits.maxBytes) throw bodyTooLarge(limits.maxBytes);
  // To whoever listens already it would be gone by then.
  if (request.readableFlowing !== null) return readStream(request, announced, limits, onProgress);
  // A small body comes with its headers: the parser has handed it over when it is done with this piece of it.
  await settled;
  const arrived = arrivedBody(request, announced);
  if (arrived !== undefined) {
    from.bodyRead = true;
    return arrived;
  }
  if (request.readableDidRead && !request.destroyed) throw bodyConsumed();
  return readStream(request, announced, limits, onProgress);
}

/** A body that is all there, without the listeners and the timer of one that is awaited; undefined for another. */
function arrivedBody(request: IncomingMessage, announced: number | undefined): Uint8Array | undefined {
  if (announced === undefined || announced === 0 || request.readableLength !== announced) return undefined;
  // Somebody else may have begun to read it, or have asked for text.
  if (request.readableFlowing !== null || request.readableEncoding !== null || request.destroyed)
    return undefined;
  const body = request.read() as Uint8Array;
  // What is left is its end, which somebody has to take.
  request.resume();
  return body;
}

function readStream(
  request: IncomingMessage,
  announced: number | undefined,
  limits: BodyLimits,
  onProgress: ((bytes: Uint8Array) => void) | undefined,
): Promise<Uint8Array> {
  if (request.destroyed) return Promise.reject(clientLeft());
  return new Promise((resolve, reject) => {
    const body = new ArrivingBody(announced);
    const timer = limits.clock.setTimer(() => finish(bodyTimeout(limits.timeoutMs)), limits.timeoutMs);
    const finish = (error?: ServeLLMError): void => {
      timer.cancel();
      request.off("data", onData).off("end", onEnd).off("error", onGone).off("close", onGone);
      if (error === undefined) {
        resolve(body.bytes);
      } else {
        // What is still coming in is read and forgotten, so that the client gets to see the answer.
        request.on("error", () => undefined).resume();
        reject(error);
      }
    };
    const onData = (chunk: Buffer): void => {
      if (body.size + chunk.length > limits.maxBytes) {
        finish(bodyTooLarge(limits.maxBytes));
        return;
      }
      body.append(chunk);
      if (body.size !== announced) onProgress?.(body.bytes);
    };
    const onEnd = (): void => finish();
    const onGone = (): void => finish(clientLeft());
    request.on("data", onData).on("end", onEnd).on("error", onGone).on("close", onGone);
  });
}

function clientLeft(): RequestCancelledError {
  return new RequestCancelledError("the client left while sending its request");
}

function parsedBody(request: ParsedRequest, warn: (message: string) => void): Uint8Array | undefined {
  const { rawBody, body } = request;
  if (rawBody instanceof Uint8Array) return rawBody;
  if (typeof rawBody === "string") return Buffer.from(rawBody);
  if (body === undefined || !request.readableEnded) return undefined;
  if (body instanceof Uint8Array) return body;
  if (typeof body === "string") return Buffer.from(body);
  warn(
    "A body parser ran before serve-llm, so that request bodies are written out again: integers beyond 2^53 lose " +
      "digits. Mount serve-llm before it, or let it keep `rawBody`.",
  );
  return Buffer.from(JSON.stringify(body));
}

function bodyConsumed(): ServeLLMError {
  return new RequestError(
    "The request's body was read by a middleware that kept neither `body` nor `rawBody`; mount serve-llm before it.",
    { status: 500, code: "body_already_consumed" },
  );
}
