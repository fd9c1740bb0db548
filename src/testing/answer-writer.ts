import type { IncomingMessage, ServerResponse } from "node:http";
import { constants, createGzip, type Gzip } from "node:zlib";

import type { Fault } from "./fault-plan.ts";
import type { JournalEntry } from "./request-journal.ts";

/**
 * Writes one answer, keeps its journal entry, and applies the faults that are about bytes: resets, split
 * pieces, compression, content type.
 */
export class AnswerWriter {
  readonly entry: JournalEntry;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #extraHeaders: Readonly<Record<string, string>>;
  #fault: Fault | undefined;
  #gzip: Gzip | undefined;
  #cut = false;
  #ended = false;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    entry: JournalEntry,
    extraHeaders: Readonly<Record<string, string>>,
  ) {
    this.#request = request;
    this.#response = response;
    this.entry = entry;
    this.#extraHeaders = extraHeaders;
    // uvicorn keeps connections open without saying so.
    response.removeHeader("connection");
  }

  /** The fault that strikes this answer. Set before anything is written. */
  set fault(fault: Fault | undefined) {
    this.#fault = fault;
    this.entry.fault = fault?.kind;
  }

  /** True when nothing can be written any more. */
  get closed(): boolean {
    return this.#cut || this.#ended || this.#response.destroyed;
  }

  /** True when the engine itself broke the connection. */
  get cut(): boolean {
    return this.#cut;
  }

  /** True when the status went out. */
  get started(): boolean {
    return this.#response.headersSent;
  }

  /** Sends status and headers, at once. */
  head(status: number, headers: Readonly<Record<string, string>>): void {
    if (this.closed || this.started) return;
    const all: Record<string, string> = { ...this.#extraHeaders, server: "uvicorn", ...headers };
    const fault = this.#fault;
    if (fault?.kind === "contentType") all["content-type"] = fault.value;
    if (fault?.kind === "gzip") {
      delete all["content-length"];
      all["content-encoding"] = "gzip";
      this.#gzip = createGzip({ flush: constants.Z_SYNC_FLUSH });
      this.#gzip.on("data", (chunk: Buffer) => this.#send(chunk));
      this.#gzip.on("end", () => this.#response.end());
    }
    this.entry.status = status;
    this.#response.writeHead(status, all);
    this.#response.flushHeaders();
  }

  /** Writes a part of the body. False: wait for {@link onDrain}. */
  write(chunk: string | Uint8Array): boolean {
    if (this.closed || chunk.length === 0) return true;
    return this.#gzip === undefined ? this.#send(chunk) : this.#gzip.write(chunk);
  }

  /** Ends the body. */
  end(): void {
    if (this.closed) return;
    this.#ended = true;
    if (this.#gzip === undefined) this.#response.end();
    else this.#gzip.end();
  }

  /** Sends a whole answer. */
  answer(
    status: number,
    contentType: string | undefined,
    body: string,
    headers: Readonly<Record<string, string>> = {},
  ): void {
    if (this.closed) return;
    const type = contentType === undefined ? {} : { "content-type": contentType };
    const length = String(Buffer.byteLength(body));
    if (this.#fault === undefined) {
      // One packet instead of two: nothing is to happen between the head and the body.
      this.entry.status = status;
      this.entry.bytes += Number(length);
      this.#ended = true;
      this.#response.writeHead(status, {
        ...this.#extraHeaders,
        server: "uvicorn",
        "content-length": length,
        ...type,
        ...headers,
      });
      this.#response.end(body);
      return;
    }
    this.head(status, { "content-length": length, ...type, ...headers });
    this.write(body);
    this.end();
  }

  json(status: number, body: string, headers?: Readonly<Record<string, string>>): void {
    this.answer(status, "application/json", body, headers);
  }

  /** Calls once when more can be written. */
  onDrain(callback: () => void): void {
    (this.#gzip ?? this.#response).once("drain", callback);
  }

  /** Breaks the connection: a reset, not an orderly end. What was written before may still arrive. */
  reset(): void {
    if (this.#cut) return;
    this.#cut = true;
    const { socket } = this.#request;
    if (socket.writableLength === 0) socket.resetAndDestroy();
    else socket.write("", () => socket.resetAndDestroy());
  }

  /** Closes the connection without an answer. */
  hangUp(): void {
    this.#cut = true;
    this.#request.socket.destroy();
  }

  /** Neither reads nor writes any more, and leaves the connection open. */
  freeze(): void {
    this.#request.socket.pause();
  }

  #send(chunk: string | Uint8Array): boolean {
    const fault = this.#fault;
    if (fault?.kind === "splitBytes") return this.#sendPieces(Buffer.from(chunk), fault.size ?? 1);
    if (fault?.kind !== "resetAtByte") {
      this.entry.bytes += Buffer.byteLength(chunk);
      return this.#response.write(chunk);
    }
    const bytes = Buffer.from(chunk);
    const room = fault.byte - this.entry.bytes;
    const part = bytes.subarray(0, Math.max(0, room));
    this.entry.bytes += part.length;
    if (part.length > 0) this.#response.write(part);
    if (room <= bytes.length) {
      this.#response.uncork();
      this.reset();
    }
    return true;
  }

  #sendPieces(bytes: Buffer, size: number): boolean {
    let more = true;
    for (let index = 0; index < bytes.length; index += size) {
      const piece = bytes.subarray(index, index + size);
      this.entry.bytes += piece.length;
      more = this.#response.write(piece);
    }
    return more;
  }
}
