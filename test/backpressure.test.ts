import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { chat, modelRequests, pdFixture, type PDFixture, untilStill } from "./door-fixtures.ts";

const mebibyte = 1024 * 1024;
const answerBytes = 64 * mebibyte;
/** Of one stalled stream: an event that is not complete, what is held for the client, a read of the socket. */
const heldBytes = 3 * mebibyte;
const chatPath = "/v1/chat/completions";

let fixture: PDFixture;
/** Connections that this process opened to engines. */
let toEngines: Socket[];

const onConnected = (message: unknown): void =>
  void toEngines.push((message as { readonly socket: Socket }).socket);

/** Bytes that came from engines, as the sockets count them. */
const readFromEngines = (): number => toEngines.reduce((sum, { bytesRead }) => sum + bytesRead, 0);

beforeEach(async () => {
  toEngines = [];
  subscribe("undici:client:connected", onConnected);
  fixture = await pdFixture();
  fixture.decode.injectFault({
    match: { phase: "decode" },
    fault: { kind: "hugeAnswer", bytes: answerBytes },
  });
});

afterEach(async () => {
  unsubscribe("undici:client:connected", onConnected);
  await fixture[Symbol.asyncDispose]();
});

function expectEngineWaits(): void {
  const entry = modelRequests(fixture.decode)[0]!;
  expect([entry.finishedAt, entry.abortedAt]).toEqual([undefined, undefined]);
}

describe("a client that does not read stops the engine's socket", () => {
  it("app.fetch: what was read stays below a bound, and all of it comes when the client reads", async () => {
    const response = await fixture.app.fetch(new Request(`http://h${chatPath}`, chat({ stream: true })));
    const stalledAt = await untilStill(readFromEngines);
    expect(stalledAt).toBeLessThan(heldBytes);
    expectEngineWaits();
    // A little is read, and no more than that follows.
    const reader = response.body!.getReader();
    let taken = 0;
    while (taken < 8 * mebibyte) taken += (await reader.read()).value!.byteLength;
    expect((await untilStill(readFromEngines)) - taken).toBeLessThan(heldBytes);
    expectEngineWaits();

    let last = new Uint8Array(0);
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      taken += part.value.byteLength;
      last = part.value;
    }
    expect(taken).toBe(modelRequests(fixture.decode)[0]!.bytes);
    expect(taken).toBeGreaterThanOrEqual(answerBytes);
    expect(Buffer.from(last).toString()).toMatch(/data: \[DONE\]\n\n$/);
  });

  it("node:http: the same, beside what the client's own socket takes", async () => {
    let served: ServerResponse | undefined;
    const server = createServer((request, response) => {
      served = response;
      fixture.app.handler(request, response);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
    const body = chat({ stream: true }).body as string;
    client.write(
      `POST ${chatPath} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-type: application/json\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
    const stalledAt = await untilStill(readFromEngines);
    // The rest lies in the kernel, which is not this process's memory, and is no more than a part either.
    const { bytesWritten, writableLength } = served!.socket!;
    expect(stalledAt - (bytesWritten - writableLength)).toBeLessThan(heldBytes);
    expect(stalledAt).toBeLessThan(answerBytes / 2);
    expectEngineWaits();

    let received = 0;
    let tail = "";
    client.on("data", (chunk: Buffer) => {
      received += chunk.length;
      tail = (tail + chunk.toString("latin1")).slice(-100);
    });
    await once(client, "close");
    expect(received).toBeGreaterThan(modelRequests(fixture.decode)[0]!.bytes);
    expect(tail).toMatch(/data: \[DONE\]\n\n\r\n0\r\n\r\n$/);
    await new Promise((resolve) => server.close(resolve));
  });
});
