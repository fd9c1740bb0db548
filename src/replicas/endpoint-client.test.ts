import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";

import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import { seededRandom } from "../testing/seeded-random.ts";
import { LoopbackServer } from "./replica.fixture.ts";
import {
  answerOf,
  cancelled,
  destroyClients,
  get,
  makeClient,
  manualServer,
  post,
  send,
  turn,
} from "./endpoint-client.fixture.ts";

afterEach(destroyClients);

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

  it("are taken up where they were used last, so that the others may grow old and close", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const client = makeClient(server.url);
    const arrivals = new Map<string, { readonly port: number; readonly response: ServerResponse }>();
    server.server.on("request", ({ socket, url }, response) =>
      arrivals.set(url!, { port: socket.remotePort!, response }),
    );
    const running = [1, 2, 3].map((number) => answerOf(client, get(`/${number}`)));
    while (arrivals.size < 3) await next();
    for (const [index, answer] of running.entries()) {
      arrivals.get(`/${index + 1}`)!.response.end();
      await answer;
      await turn();
    }
    for (const path of ["/4", "/5"]) {
      const answer = answerOf(client, get(path));
      (await next())[1].end();
      await answer;
      await turn();
      expect(arrivals.get(path)!.port).toBe(arrivals.get("/3")!.port);
    }
    expect(server.connections).toBe(3);
  });

  it("rest for a turn after an answer, upon which a server may close them", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const client = makeClient(server.url);
    const first = answerOf(client, get());
    const [{ socket }, response] = await next();
    response.end("ok");
    await first;
    const second = answerOf(client, get());
    socket.destroy();
    (await next())[1].end("ok");
    expect((await second).events.at(-1)).toBe("end");
    expect(server.connections).toBe(2);
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

  it("opens no connection that no request wants", async () => {
    const { server, next } = await manualServer();
    await using _server = server;
    const client = makeClient(server.url);
    for (let time = 1; time <= 5; time++) {
      const { exchange } = send(client, get());
      await next();
      exchange.abort(cancelled);
      await server.untilClosed(time);
      for (let turns = 0; turns < 5; turns++) await turn();
      expect(server.connections).toBe(time);
    }
    expect(server.sockets.size).toBe(0);
    const answer = answerOf(client, get());
    (await next())[1].end("ok");
    expect((await answer).bytes.toString()).toBe("ok");
    await client.close();
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

it("settles every request once, among many that are aborted at any moment", async () => {
  await using server = await new LoopbackServer((request, response) => {
    response.on("error", () => undefined);
    if (request.url === "/reset") request.socket.resetAndDestroy();
    else if (request.url !== "/hang") setImmediate(() => response.end("ok"));
  }).listen();
  const client = makeClient(server.url);
  const random = seededRandom(7);
  const outcomes = { ok: 0, failed: 0, aborted: 0 };
  const worker = async (): Promise<void> => {
    for (let number = 0; number < 60; number++) {
      const kind = random.next();
      const path = kind < 0.1 ? "/reset" : kind < 0.2 ? "/hang" : "/";
      const { sink, exchange } = send(client, get(path));
      if (path === "/hang" || random.next() < 0.4) {
        for (let turns = Math.floor(random.next() * 6); turns > 0; turns--) await turn();
        exchange.abort(cancelled);
      }
      await sink.over();
      if (sink.error === cancelled) outcomes.aborted += 1;
      else if (sink.error !== undefined) outcomes.failed += 1;
      else outcomes.ok += sink.bytes.toString() === "ok" ? 1 : 0;
      expect(sink.events.filter((event) => event === "end" || event === "error")).toHaveLength(1);
      if (path === "/") expect(sink.error === undefined || sink.error === cancelled).toBe(true);
    }
  };
  await Promise.all(Array.from({ length: 20 }, worker));
  expect(outcomes.ok + outcomes.failed + outcomes.aborted).toBe(1200);
  expect(Math.min(outcomes.ok, outcomes.failed, outcomes.aborted)).toBeGreaterThan(50);
  await client.close();
  await server.untilSockets(0);
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
