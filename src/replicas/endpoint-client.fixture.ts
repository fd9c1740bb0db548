import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { expect } from "vitest";

import type { Endpoint } from "../config/endpoint.ts";
import { RequestCancelledError } from "../errors/request-cancelled-error.ts";
import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import {
  EndpointClient,
  type EngineExchange,
  type EngineHttpRequest,
  type EngineResponseSink,
} from "./endpoint-client.ts";
import type { EngineHeaders } from "./engine-headers.ts";
import { clientConfig, LoopbackServer } from "./replica.fixture.ts";

const clients: EndpointClient[] = [];

/** Closes what {@link makeClient} made. For `afterEach`. */
export async function destroyClients(): Promise<void> {
  await Promise.all(clients.splice(0).map((client) => client.destroy()));
}

/** A client of one endpoint. */
export function makeClient(
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

/** A request without a body. */
export const get = (path = "/", headers: readonly string[] = []): EngineHttpRequest => ({
  method: "GET",
  path,
  headers,
  phase: "decode",
});
/** A request with a body of these parts. */
export const post = (body: readonly Uint8Array[]): EngineHttpRequest => ({
  method: "POST",
  path: "/v1/completions",
  headers: ["content-type", "application/json"],
  body,
  phase: "prefill",
});

/** Keeps what it hears, in order; `until` waits for some of it. */
export class RecordingSink implements EngineResponseSink {
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

/** Sends a request; nothing may be heard before dispatch returned. */
export function send(
  client: EndpointClient,
  request: EngineHttpRequest,
): { sink: RecordingSink; exchange: EngineExchange } {
  const sink = new RecordingSink();
  const exchange = client.dispatch(request, sink);
  expect(sink.events).toEqual([]);
  return { sink, exchange };
}

/** Sends a request and waits until it is over. */
export async function answerOf(client: EndpointClient, request: EngineHttpRequest): Promise<RecordingSink> {
  const { sink } = send(client, request);
  await sink.over();
  return sink;
}

/** One turn of the event loop: a connection is free for the next request, and both ends know that it was closed. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Why tests abort. */
export const cancelled = new RequestCancelledError("gone");

/** A server whose answers a test writes itself. */
export async function manualServer(): Promise<{
  server: LoopbackServer;
  next: () => Promise<[IncomingMessage, ServerResponse]>;
}> {
  const server = await new LoopbackServer(() => undefined).listen();
  return { server, next: () => once(server.server, "request") as Promise<[IncomingMessage, ServerResponse]> };
}
