import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { ByteSink, ByteSource } from "../internal/byte-stream.ts";
import type { HttpResponse } from "./http-exchange.ts";
import { isWrapped } from "./response-head.ts";

/** How long a client whose answer broke may take to read to its end, milliseconds. */
const lastWordsTimeoutMs = 5000;
/** Up to here an answer is written as a string, which node:http joins with its headers: one system call without a list. */
const stringBelowBytes = 8 * 1024;
const lastFrame = "0\r\n\r\n";

/** Sends an answer that is all there, headers and body in one write where possible. */
export function sendWhole(response: ServerResponse, body: Uint8Array): void {
  if (body.byteLength > stringBelowBytes || isWrapped(response)) {
    response.end(body);
    return;
  }
  // Ended with it, node:http would add an empty write of its own, and send a list of two.
  writeAtOnce(response, latin1(body));
  response.end();
}

/**
 * Writes a streamed answer to a client of node:http: what comes within one turn goes out in one write.
 *
 * Where nobody wraps the response, a chunk is framed here (its length, the bytes, a line break): node:http would hand
 * four pieces to the socket for every token. What is known to be all of its turn then goes to the socket itself, past
 * the corks and queues that a response has for a beginning.
 */
export class ResponseSink implements ByteSink {
  readonly #source: ByteSource;
  readonly #response: ServerResponse;
  readonly #lastWords: HttpResponse["lastWords"];
  readonly #frames: boolean;
  /** Once the headers are out and chunks are framed here. */
  #socket: Socket | null = null;
  #chunks: Uint8Array[] = [];
  #scheduled = false;
  #ending = false;
  #full = false;

  constructor(source: ByteSource, response: ServerResponse, lastWords: HttpResponse["lastWords"]) {
    this.#source = source;
    this.#response = response;
    this.#lastWords = lastWords;
    this.#frames = takeFraming(response);
    response.on("drain", () => this.#onDrain());
    this.#schedule();
  }

  write(chunk: Uint8Array, latin1?: string): boolean {
    if (this.#response.destroyed) return true;
    if (latin1 === undefined || !this.#writeToSocket(latin1)) {
      this.#chunks.push(chunk);
      this.#schedule();
    }
    return !this.#full;
  }

  end(): void {
    this.#ending = true;
    this.#schedule();
  }

  fail(error: ServeLLMError): void {
    const response = this.#response;
    if (response.destroyed) return;
    const lastWords = this.#lastWords?.(error);
    if (lastWords === undefined) {
      response.destroy();
      return;
    }
    this.#chunks.push(lastWords);
    // Destroying before the write is out could lose the words themselves; a client that does not read can't have them.
    this.#send(() => response.destroy());
    response.setTimeout(lastWordsTimeoutMs, () => response.destroy());
  }

  /** False where it has to go through the response. */
  #writeToSocket(latin1: string): boolean {
    const socket = this.#socket;
    if (socket === null || this.#scheduled || !socket.writable) return false;
    // Somebody else may have ended the answer.
    if (this.#response.writableEnded) return false;
    if (socket.write(framedText(latin1, ""), "latin1") || this.#full) return true;
    this.#full = true;
    // The response hears of it only when the write was its own.
    socket.once("drain", () => this.#onDrain());
    return true;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(flush, this);
  }

  /** @internal Sends what came since the last time. */
  flush(): void {
    this.#scheduled = false;
    const response = this.#response;
    if (response.destroyed) return;
    this.#send();
    if (this.#ending) response.end();
    else if (this.#frames) this.#socket = response.socket;
  }

  #send(onSent?: () => void): void {
    const response = this.#response;
    const chunks = this.#chunks;
    if (chunks.length === 0) {
      if (!this.#ending) response.flushHeaders();
      else if (this.#frames) writeAtOnce(response, lastFrame);
      return;
    }
    this.#chunks = [];
    let size = 0;
    for (const chunk of chunks) size += chunk.byteLength;
    const bytes = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size);
    const more = this.#frames
      ? writeAtOnce(response, framed(bytes, this.#ending ? lastFrame : ""), onSent)
      : response.write(bytes, onSent);
    if (!more) this.#full = true;
    // The compression middleware buffers events until it is told to flush.
    const { flush: flushWrapper } = response as { flush?: unknown };
    if (typeof flushWrapper === "function") flushWrapper.call(response);
  }

  #onDrain(): void {
    if (!this.#full) return;
    this.#full = false;
    // A socket may drain after the answer.
    if (!this.#ending) this.#source.resume();
  }
}

function flush(sink: ResponseSink): void {
  sink.flush();
}

/** Makes this side responsible for the framing of chunks. False where there is none, or somebody else has to see the bytes. */
function takeFraming(response: ServerResponse): boolean {
  if (isWrapped(response)) return false;
  // Settles whether there will be chunks: HTTP/1.0 has none.
  if (!response.headersSent) response.writeHead(response.statusCode);
  if (!response.chunkedEncoding) return false;
  response.chunkedEncoding = false;
  return true;
}

/** One chunk of `transfer-encoding: chunked`, and what comes after it. */
function framed(bytes: Uint8Array, after: string): string | Buffer {
  if (bytes.byteLength <= stringBelowBytes) return framedText(latin1(bytes), after);
  const length = Buffer.from(`${bytes.byteLength.toString(16)}\r\n`);
  return Buffer.concat([length, bytes, Buffer.from(`\r\n${after}`)]);
}

/** {@link framed}, with each byte as one character. */
function framedText(text: string, after: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n${after}`;
}

/** Without the corks node:http would wait for the next tick, to see whether there is more. */
function writeAtOnce(response: ServerResponse, data: string | Buffer, onSent?: () => void): boolean {
  response.cork();
  const more =
    typeof data === "string" ? response.write(data, "latin1", onSent) : response.write(data, onSent);
  response.uncork();
  return more;
}

/** Every byte as one character: written as latin1 it is the same bytes again. */
function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}
