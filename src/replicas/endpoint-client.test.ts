import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";

import type { Endpoint } from "../config/endpoint.ts";
import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { RequestError } from "../errors/request-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import {
  EndpointClient,
  type EngineExchange,
  type EngineHeaders,
  type EngineHttpRequest,
  type EngineResponseSink,
} from "./endpoint-client.ts";
import { clientConfig, LoopbackServer, readBody } from "./replica.fixture.ts";

const clients: EndpointClient[] = [];

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.destroy()));
});

function makeClient(
  endpoint: Endpoint | string,
  init: Parameters<typeof clientConfig>[0] = {},
): EndpointClient {
  const client = new EndpointClient(
    typeof endpoint === "string" ? { url: endpoint } : endpoint,
    clientConfig(init),
    "D#r",
  );
  clients.push(client);
  return client;
}

const get = (path = "/", headers: readonly string[] = []): EngineHttpRequest => ({
  method: "GET",
  path,
  headers,
  phase: "decode",
});
const post = (body: readonly Uint8Array[]): EngineHttpRequest => ({
  method: "POST",
  path: "/v1/completions",
  headers: ["content-type", "application/json"],
  body,
  phase: "prefill",
});

/** Keeps what it hears, in order; `until` waits for one of it. */
class RecordingSink implements EngineResponseSink {
  readonly events: string[] = [];
  readonly chunks: Buffer[] = [];
  headers: EngineHeaders | undefined;
  error: ServeLLMError | undefined;
  full = false;
  #waiting: (() => void)[] = [];

  onHeaders(status: number, headers: EngineHeaders): void {
    this.headers = headers;
    this.#log(`headers ${status}`);
  }
  onData(chunk: Buffer): boolean {
    this.chunks.push(chunk);
    this.#log("data");
    return !this.full;
  }
  onEnd(): void {
    this.#log("end");
  }
  onError(error: ServeLLMError): void {
    this.error = error;
    this.#log("error");
  }
  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
  over(): Promise<void> {
    return this.until(() => this.events.includes("end") || this.events.includes("error"));
  }
  #log(event: string): void {
    this.events.push(event);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

function send(
  client: EndpointClient,
  request: EngineHttpRequest,
): { sink: RecordingSink; exchange: EngineExchange } {
  const sink = new RecordingSink();
  const exchange = client.dispatch(request, sink);
  expect(sink.events).toEqual([]);
  return { sink, exchange };
}

async function answerOf(client: EndpointClient, request: EngineHttpRequest): Promise<RecordingSink> {
  const { sink } = send(client, request);
  await sink.over();
  return sink;
}

/** One turn of the event loop: a connection is free for the next request, and both ends know that it was closed. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const cancelled = new RequestCancelledError("gone");

/** A server whose answers a test writes itself. */
async function manualServer(): Promise<{
  server: LoopbackServer;
  next: () => Promise<[IncomingMessage, ServerResponse]>;
}> {
  const server = await new LoopbackServer(() => undefined).listen();
  return { server, next: () => once(server.server, "request") as Promise<[IncomingMessage, ServerResponse]> };
}

describe("connections", () => {
  it("are used again, and apart from each other while in use", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const client = makeClient(server.url);
    for (let time = 0; time < 3; time++) {
      const answer = answerOf(client, get());
      (await next())[1].end("ok");
      expect((await answer).events).toEqual(["headers 200", "data", "end"]);
      await turn();
    }
    expect(server.connections).toBe(1);
    const arrivals: ServerResponse[] = [];
    server.server.on("request", (_request, response) => arrivals.push(response));
    const running = [1, 2, 3].map(() => answerOf(client, get()));
    while (arrivals.length < 3) await next();
    expect(server.connections).toBe(3);
    for (const response of arrivals) response.end();
    await Promise.all(running);
  });

  it("that the server closed while idle are not used again", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const client = makeClient(server.url);
    const first = answerOf(client, get());
    (await next())[1].end("ok");
    await first;
    for (const socket of server.sockets) socket.end();
    await server.untilSockets(0);
    await turn();
    const second = answerOf(client, get());
    (await next())[1].end("ok");
    expect((await second).events.at(-1)).toBe("end");
    expect(server.connections).toBe(2);
  });

  it("are gone after close, which waits for running requests", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const client = makeClient(server.url);
    const running = answerOf(client, get());
    const [, response] = await next();
    const closed = client.close();
    response.end("ok");
    expect((await running).events.at(-1)).toBe("end");
    await closed;
    await server.untilSockets(0);
    const late = await answerOf(client, get());
    expect(late.error).toMatchObject({ name: "EngineConnectionError", neverSent: true });
    await client.close();
  });

  it("are gone after destroy, which ends running requests", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const client = makeClient(server.url);
    const running = answerOf(client, get());
    await next();
    await client.destroy();
    expect((await running).error).toMatchObject({ neverSent: false, phase: "decode" });
    await server.untilSockets(0);
    await client.close();
    await client.destroy();
  });
});

describe("failures", () => {
  it("to connect say that nothing was sent", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    const sink = await answerOf(makeClient(`http://127.0.0.1:${port}`), post([Buffer.from("{}")]));
    expect(sink.error).toBeInstanceOf(EngineConnectionError);
    expect(sink.error).toMatchObject({ neverSent: true, phase: "prefill", replica: "D#r", status: 502 });
    expect(sink.events).toEqual(["error"]);
  });

  it("of a connection that was used say that the engine may have seen the request", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const answer = answerOf(makeClient(server.url), get());
    (await next())[1].socket!.resetAndDestroy();
    expect((await answer).error).toMatchObject({ neverSent: false });
  });

  it("in the middle of an answer come after its bytes", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const { sink } = send(makeClient(server.url), get());
    const [, response] = await next();
    response.write("part");
    await sink.until(() => sink.chunks.length > 0);
    response.socket!.resetAndDestroy();
    await sink.over();
    expect(sink.events).toEqual(["headers 200", "data", "error"]);
    expect(sink.bytes.toString()).toBe("part");
  });

  it("of an answer that is cut short are failures, not ends", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const answer = answerOf(makeClient(server.url), get());
    const [, response] = await next();
    response.writeHead(200, { "content-length": "10" });
    response.write("five.");
    response.socket!.end();
    expect((await answer).events.at(-1)).toBe("error");
  });
});

describe("abort", () => {
  it("before a connection is there: the request never reaches the engine", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const seen: (string | undefined)[] = [];
    server.server.on("request", (request) => seen.push(request.url));
    const client = makeClient(server.url);
    const { sink, exchange } = send(client, get("/aborted"));
    exchange.abort(cancelled);
    exchange.abort(new RequestCancelledError("again"));
    expect(sink.events).toEqual(["error"]);
    expect(sink.error).toBe(cancelled);
    const other = answerOf(client, get("/other"));
    (await next())[1].end();
    await other;
    expect(seen).toEqual(["/other"]);
    await client.destroy();
    expect(sink.events).toEqual(["error"]);
  });

  it("before headers: closes the socket", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const { sink, exchange } = send(makeClient(server.url), get());
    await next();
    exchange.abort(cancelled);
    await server.untilClosed(1);
    expect(sink.events).toEqual(["error"]);
  });

  it("in the middle of the body: closes the socket, and nothing more comes", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const { sink, exchange } = send(makeClient(server.url), get());
    const [, response] = await next();
    response.write("part");
    await sink.until(() => sink.chunks.length > 0);
    exchange.abort(cancelled);
    response.write("more");
    await server.untilClosed(1);
    expect(sink.events).toEqual(["headers 200", "data", "error"]);
  });

  it("after the end: does nothing", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const { sink, exchange } = send(makeClient(server.url), get());
    (await next())[1].end("ok");
    await sink.over();
    exchange.abort(cancelled);
    exchange.resume();
    expect(sink.events.at(-1)).toBe("end");
    expect(server.sockets.size).toBe(1);
  });
});

describe("requests", () => {
  it("carry the endpoint's path, headers and key, and ask for an answer that is not compressed", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const endpoint = { url: `${server.url}/engines/a`, headers: { "x-tenant": "endpoint" }, apiKey: "own" };
    const client = makeClient(endpoint, {
      apiKey: "common",
      headers: { "X-Tenant": "client", "X-More": "1" },
    });
    const answer = answerOf(client, get("/v1/models", ["x-request-id", "abc"]));
    const [request, response] = await next();
    response.end();
    await answer;
    expect(request.url).toBe("/engines/a/v1/models");
    expect(request.headers).toMatchObject({
      "x-tenant": "endpoint",
      "x-more": "1",
      "x-request-id": "abc",
      authorization: "Bearer own",
      "accept-encoding": "identity",
    });
  });

  it("can't be made to say more than they should by line breaks", async () => {
    const { server } = await manualServer();
    await using _server = server;
    let requests = 0;
    server.server.on("request", () => (requests += 1));
    const client = makeClient(server.url);
    for (const bad of [
      get("/", ["x-request-id", "a\r\nx-evil: 1"]),
      get("/", ["x-a\r\nx-evil", "1"]),
      get("/ HTTP/1.1\r\nx-evil: 1\r\n\r\nGET /"),
    ]) {
      const sink = await answerOf(client, bad);
      expect(sink.error).toBeInstanceOf(RequestError);
      expect(sink.events).toEqual(["error"]);
    }
    expect([requests, server.connections]).toEqual([0, 0]);
  });

  it("have their bodies in one piece or in parts, with their exact length", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const client = makeClient(server.url);
    const large = Buffer.alloc(3_000_000, "large");
    for (const parts of [
      [Buffer.from("one")],
      [Buffer.from("a"), Buffer.from("b")],
      [Buffer.from("<"), large, Buffer.from(">")],
      [],
    ]) {
      const expected = Buffer.concat(parts);
      const answer = answerOf(client, post(parts));
      const [request, response] = await next();
      expect(request.headers["content-length"]).toBe(String(expected.length));
      expect(request.headers["transfer-encoding"]).toBeUndefined();
      expect((await readBody(request)).equals(expected)).toBe(true);
      response.end();
      await answer;
      await turn();
    }
    expect(server.connections).toBe(1);
  });

  it("are stopped in the middle of a large body", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const client = makeClient(server.url);
    const { sink, exchange } = send(client, post([Buffer.alloc(8_000_000), Buffer.alloc(8_000_000)]));
    const [request] = await next();
    request.on("error", () => undefined);
    exchange.abort(cancelled);
    // The server hears of the end only when it reads on.
    request.resume();
    await server.untilClosed(1);
    expect(sink.events).toEqual(["error"]);
    const after = answerOf(client, post([Buffer.from("{}")]));
    (await next())[1].end("ok");
    expect((await after).bytes.toString()).toBe("ok");
  });
});

describe("answers", () => {
  it("that redirect are answers: nobody follows them", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const paths: (string | undefined)[] = [];
    server.server.on("request", (request) => paths.push(request.url));
    const answer = answerOf(makeClient(server.url), get("/here"));
    (await next())[1].writeHead(307, { location: "/there" }).end();
    const sink = await answer;
    expect(sink.events).toEqual(["headers 307", "end"]);
    expect(sink.headers!.get("location")).toBe("/there");
    expect(sink.headers!.get("x-none")).toBeUndefined();
    expect(paths).toEqual(["/here"]);
  });

  it("begin after what comes before them (103, 100)", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const answer = answerOf(makeClient(server.url), get());
    const [, response] = await next();
    response.writeEarlyHints({ link: "</a>; rel=preload" });
    response.end("ok");
    expect((await answer).events).toEqual(["headers 200", "data", "end"]);
  });

  it("wait in the engine while the sink is full", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const { sink, exchange } = send(makeClient(server.url), get());
    const [, response] = await next();
    const chunk = Buffer.alloc(64 * 1024, "x");
    const total = 400;
    let written = 0;
    sink.full = true;
    // Writes until the sockets' own buffers are full: from then on the engine is held back.
    let stalled: (() => void) | undefined;
    const pump = (): void => {
      while (written < total) {
        written += 1;
        if (!response.write(chunk)) {
          response.once("drain", pump);
          setImmediate(() => stalled?.());
          return;
        }
      }
      response.end();
    };
    pump();
    await sink.until(() => sink.chunks.length === 1);
    let before = -1;
    while (before !== written) {
      before = written;
      // A turn of the event loop with room for whatever the sockets would still move.
      await new Promise<void>((resolve) => {
        stalled = resolve;
        setTimeout(resolve, 20);
      });
    }
    expect(written).toBeLessThan(total);
    expect(sink.chunks.length).toBe(1);
    sink.full = false;
    exchange.resume();
    await sink.over();
    expect(sink.bytes.length).toBe(total * chunk.length);
    expect(sink.events.at(-1)).toBe("end");
  });
});

it("gives up connecting after connectTimeoutMs", async () => {
  // A server that speaks no TLS never answers the handshake.
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket.on("error", () => undefined))).listen(
    0,
    "127.0.0.1",
  );
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const sink = await answerOf(makeClient(`https://127.0.0.1:${port}`, { connectTimeoutMs: 50 }), get());
  expect(sink.error).toMatchObject({
    name: "EngineTimeoutError",
    code: "connect_timeout",
    option: "connectTimeoutMs",
  });
  for (const socket of sockets) socket.destroy();
  server.close();
  await once(server, "close");
});
