import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../internal/clock.ts";
import type { HttpResponse, HttpService } from "./http-exchange.ts";
import { nodeHandler } from "./node-handler.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

const limits = { maxBytes: 1000, timeoutMs: 1000, clock: systemClock, warn: () => undefined };
const closing = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

const echo: HttpService = async (request) => answerOf(Buffer.from(await request.readBody(limits)).toString());

function answerOf(body: string | undefined, headers: HttpResponse["headers"] = []): HttpResponse {
  return { status: 200, headers, body: body === undefined ? undefined : Buffer.from(body) };
}

function post(body: string): string {
  return `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

type Middleware = (request: IncomingMessage, response: ServerResponse) => void;

/** All that a server sends on a connection that brings `text`. */
async function received(service: HttpService, text: string, before?: Middleware): Promise<string> {
  const handler = nodeHandler(service);
  const server = createServer((request, response) => {
    before?.(request, response);
    handler(request, response);
  });
  closers.push(() => server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.write(text);
  let message = "";
  socket.on("data", (chunk: Buffer) => (message += chunk.toString()));
  await once(socket, "close");
  return message;
}

describe("The door for node:http", () => {
  it("keeps a connection whose request was read, also when it is answered at once", async () => {
    const message = await received(echo, post("one") + post("two") + closing);
    const bodies = message.split("HTTP/1.1 200 OK").map((part) => part.split("\r\n\r\n")[1]);
    expect(bodies).toEqual([undefined, "one", "two", ""]);
    expect(message.match(/connection: close/gi)).toHaveLength(1);
  });

  it("closes a connection with the rest of a body that nobody read", async () => {
    const message = await received(async () => answerOf("no"), post("one").slice(0, -1));
    expect(message).toMatch(/connection: close/i);
  });

  it("reads a body that somebody else listens to", async () => {
    let seen = "";
    const message = await received(echo, post("one") + closing, (request) => {
      request.on("data", (chunk: Buffer) => (seen += chunk.toString()));
    });
    expect(message).toContain("\r\n\r\none");
    expect(seen).toBe("one");
  });

  it("refuses what a listener that came later has taken", async () => {
    const service: HttpService = (request) => request.readBody(limits).then(() => answerOf("read"), refused);
    const refused = (error: Error): HttpResponse => answerOf(error.message);
    const message = await received(service, post("one") + closing, (request) => {
      process.nextTick(() => request.on("data", () => undefined));
    });
    expect(message).toContain("was read by a middleware");
  });

  it("tells that there is no body", async () => {
    expect(await received(async () => answerOf(undefined), closing)).toContain("Content-Length: 0\r\n");
  });

  it.each([
    [["content-length", "2"], "content-length: 2"],
    [["content-type", "b"], "content-type: b"],
    [["Content-Type", "b"], "Content-Type: b"],
  ] as const)("sends one header of a name, the last", async (header, line) => {
    const message = await received(async () => answerOf("{}", [["content-type", "a"], header]), closing);
    const name = header[0].toLowerCase();
    const lines = message.split("\r\n").filter((text) => text.toLowerCase().startsWith(`${name}:`));
    expect(lines).toEqual([line]);
  });

  it("lets a middleware add a header as the answer ends", async () => {
    const message = await received(
      async () => answerOf("{}"),
      closing,
      (_request, response) => {
        const end = response.end.bind(response) as (chunk: unknown) => ServerResponse;
        response.end = ((chunk: unknown) => {
          response.setHeader("x-time", "1");
          return end(chunk);
        }) as ServerResponse["end"];
      },
    );
    expect(message).toContain("x-time: 1\r\n");
  });

  it("lets a middleware change a header as it is set", async () => {
    const message = await received(
      async () => answerOf("{}", [["x-a", "1"]]),
      closing,
      (_request, response) => {
        const setHeader = response.setHeader.bind(response);
        response.setHeader = (name, value) => setHeader(name, name === "x-a" ? "2" : value);
      },
    );
    expect(message).toContain("x-a: 2\r\n");
  });

  it("shows its headers to a log, once it is out", async () => {
    let logged: unknown;
    await received(
      async () => answerOf("{}", [["x-a", "1"]]),
      closing,
      (_request, response) => {
        response.on("finish", () => (logged = response.getHeader("x-a")));
      },
    );
    expect(logged).toBe("1");
  });
});
