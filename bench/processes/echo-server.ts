// The least a node:http server can do: reads a body and answers with constant bytes.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { serveControl } from "./control.ts";

const answer = Buffer.from(JSON.stringify({ object: "chat.completion", text: "y".repeat(560) }));

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    Buffer.concat(chunks);
    response.setHeader("content-type", "application/json");
    response.setHeader("content-length", answer.length);
    response.end(answer);
  });
});
server.keepAliveTimeout = 0;
server.listen(0, "127.0.0.1", 4096, () => serveControl((server.address() as AddressInfo).port));
