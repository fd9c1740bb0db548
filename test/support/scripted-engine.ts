import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What an engine got. */
export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
  /** The client went away, or the answer is over. */
  closed: boolean;
}

/** How an engine answers one request. */
export type ScriptedAnswer = (response: ServerResponse, received: ReceivedRequest) => void;

/** An engine that answers as it is told. */
export interface ScriptedEngine extends AsyncDisposable {
  readonly url: string;
  /** What it got, without the library's own checks. */
  readonly received: ReceivedRequest[];
}

/**
 * An engine that answers each model request with the next of these, then with the last again. What the library asks
 * in the background is answered with 404.
 */
export async function scriptedEngine(...answers: readonly ScriptedAnswer[]): Promise<ScriptedEngine> {
  const received: ReceivedRequest[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const path = request.url!;
      if (request.method === "GET" && !path.startsWith("/is_")) {
        response.writeHead(404).end();
        return;
      }
      const body = Buffer.concat(parts);
      const entry = { method: request.method!, path, headers: request.headers, body, closed: false };
      received.push(entry);
      response.on("close", () => (entry.closed = true));
      answers[Math.min(received.length, answers.length) - 1]!(response, entry);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** A JSON answer. */
export const json =
  (value: unknown, status = 200): ScriptedAnswer =>
  (response) => {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
  };

/** An event stream of these texts; it ends orderly unless `cut`. */
export const events =
  (texts: readonly string[], cut = false): ScriptedAnswer =>
  (response) => {
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    for (const text of texts) response.write(text);
    if (cut) response.write("", () => response.destroy());
    else response.end();
  };
