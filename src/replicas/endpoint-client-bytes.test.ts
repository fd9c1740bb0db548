import { afterEach, describe, expect, it } from "vitest";

import { RequestError } from "../errors/request-error.ts";
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
import { readBody } from "./replica.fixture.ts";

afterEach(destroyClients);

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

it("brings what one read of the socket had as one piece, before the end", async () => {
  const { server, next } = await manualServer();
  await using _server = server;
  const client = makeClient(server.url);
  const { sink } = send(client, get());
  const [, response] = await next();
  response.writeHead(200);
  // One packet: headers, three chunks, the end.
  response.cork();
  for (const text of ["a", "b", "c"]) response.write(text);
  response.end();
  await sink.over();
  expect(sink.events.at(-1)).toBe("end");
  expect(sink.bytes.toString()).toBe("abc");
  expect(sink.chunks.length).toBeLessThan(3);
});

it("holds back what comes to a full sink until it goes on, and brings all of it", async () => {
  const { server, next } = await manualServer();
  await using _server = server;
  const client = makeClient(server.url);
  const { sink, exchange } = send(client, get());
  sink.full = true;
  const [, response] = await next();
  response.write("a");
  await sink.until(() => sink.chunks.length === 1);
  response.end("b".repeat(100_000));
  for (let count = 0; count < 5; count += 1) await turn();
  expect(sink.bytes.toString()).toBe("a");
  sink.full = false;
  exchange.resume();
  await sink.over();
  expect(sink.bytes.toString()).toBe(`a${"b".repeat(100_000)}`);
  expect(sink.events.at(-1)).toBe("end");
});
