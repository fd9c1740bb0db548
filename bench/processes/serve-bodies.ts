// A server of node:http for proxies that do as little as they can.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Pool } from "undici";
import { serveControl } from "./control.ts";

/** How such a proxy talks to engines. */
export const poolOptions = {
  connections: null,
  pipelining: 1,
  headersTimeout: 0,
  bodyTimeout: 0,
} as const satisfies Pool.Options;

/** Calls `answer` with each request whose body is there. */
export function serveBodies(
  answer: (request: IncomingMessage, body: Buffer, response: ServerResponse) => void,
): void {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () =>
      answer(request, chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks), response),
    );
  });
  server.requestTimeout = 0;
  server.keepAliveTimeout = 0;
  server.listen(0, "127.0.0.1", 4096, () => serveControl((server.address() as AddressInfo).port));
}
