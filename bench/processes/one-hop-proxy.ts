// What nginx does, in Node: one request to one engine, body and answer untouched. The floor of node:http with undici.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Dispatcher, Pool } from "undici";
import { serveControl } from "./control.ts";

const pool = new Pool(process.argv[2]!, {
  connections: null,
  pipelining: 1,
  headersTimeout: 0,
  bodyTimeout: 0,
});
const requestHeaders = ["content-type", "application/json"];

class Relay implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;
  #resume: (() => void) | undefined;
  #abort: (() => void) | undefined;
  #corked = false;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.on("drain", () => this.#resume?.());
    response.on("close", () => {
      if (!response.writableFinished) this.#abort?.();
    });
  }

  onConnect(abort: () => void): void {
    this.#abort = abort;
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void): boolean {
    this.#resume = resume;
    this.#response.statusCode = status;
    for (let index = 0; index + 1 < headers.length; index += 2) {
      const name = headers[index]!.toString("latin1").toLowerCase();
      if (name === "content-type" || name === "content-length") {
        this.#response.setHeader(name, headers[index + 1]!.toString("latin1"));
      }
    }
    return true;
  }

  onData(chunk: Buffer): boolean {
    if (!this.#corked) {
      this.#corked = true;
      this.#response.cork();
      process.nextTick(this.#uncork);
    }
    return this.#response.write(chunk);
  }

  onComplete(): void {
    this.#response.end();
  }

  onError(): void {
    this.#response.destroy();
  }

  readonly #uncork = (): void => {
    this.#corked = false;
    this.#response.uncork();
  };
}

const server = createServer((request: IncomingMessage, response: ServerResponse) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    pool.dispatch({ method: "POST", path: request.url!, headers: requestHeaders, body }, new Relay(response));
  });
});
server.requestTimeout = 0;
server.keepAliveTimeout = 0;
server.listen(0, "127.0.0.1", 4096, () => serveControl((server.address() as AddressInfo).port));
