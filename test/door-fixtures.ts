import "reflect-metadata";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import { createAdaptorServer } from "@hono/node-server";
import { Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import type { NestExpressApplication } from "@nestjs/platform-express";
import express, { type Express } from "express";
import fastify, { type FastifyInstance } from "fastify";
import { Hono } from "hono";
import Koa from "koa";

import { buildPdOpenaiApp } from "../src/builders/build-pd-openai-app.ts";
import type { OpenAiIngressArguments } from "../src/ingress/ingress-options.ts";
import type { OpenAiIngress } from "../src/ingress/openai-ingress.ts";
import type { Clock } from "../src/internal/clock.ts";
import type { Application } from "../src/serve/application.ts";
import { MockVLLMEngine, type JournalEntry, type MockVLLMEngineOptions } from "../src/testing/index.ts";

/** Asks a served application. */
export type Ask = (path: string, init?: RequestInit) => Promise<Response>;

/** A way to serve an application. */
export interface Door {
  readonly name: string;
  /** False when a path that is not served goes on to the framework. */
  readonly answersUnknownPaths: boolean;
  open(app: Application<OpenAiIngress>): Promise<OpenDoor>;
}

export interface OpenDoor extends AsyncDisposable {
  readonly ask: Ask;
  /** Port of its server; undefined when it has none. */
  readonly port: number | undefined;
}

/** Two mock engines and the prefill/decode application before them. */
export interface PDFixture extends AsyncDisposable {
  readonly prefill: MockVLLMEngine;
  readonly decode: MockVLLMEngine;
  readonly app: Application<OpenAiIngress>;
}

const kvTransfer = { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } };

export interface FixtureOptions {
  readonly clock?: Clock | undefined;
  readonly ingress?: Omit<OpenAiIngressArguments, "llmDeployments">;
  readonly ingressCls?: typeof OpenAiIngress;
  readonly client?: Readonly<Record<string, unknown>>;
  readonly engine?: MockVLLMEngineOptions;
}

/** Starts engines and makes an application of them. When disposed nothing of them is left running. */
export async function pdFixture(options: FixtureOptions = {}): Promise<PDFixture> {
  const prefill = new MockVLLMEngine(options.engine);
  const decode = new MockVLLMEngine(options.engine);
  await Promise.all([prefill.start(), decode.start()]);
  const configFor = (engine: MockVLLMEngine): object => ({
    modelLoadingConfig: { modelId: engine.options.model },
    engineKwargs: kvTransfer,
    endpoints: [engine.url],
    ...(options.client === undefined ? {} : { client: options.client }),
  });
  const app = buildPdOpenaiApp({
    prefillConfig: configFor(prefill),
    decodeConfig: configFor(decode),
    ingressClsConfig: {
      ingressExtraKwargs: options.ingress,
      ...(options.ingressCls === undefined ? {} : { ingressCls: options.ingressCls }),
    },
  } as never);
  if (options.clock !== undefined) app.withEnvironment({ clock: options.clock });
  return {
    prefill,
    decode,
    app,
    async [Symbol.asyncDispose]() {
      await app.shutdown({ graceMs: 0 });
      await Promise.all([prefill.stop(), decode.stop()]);
    },
  };
}

/** Requests that are about models: background checks of the library are none. */
export function modelRequests(engine: MockVLLMEngine): readonly JournalEntry[] {
  return engine.requests.filter(({ method, path }) => method === "POST" && !path.startsWith("/health"));
}

/** Serves a listener on a port of its own. */
export async function serveListener(listener: RequestListener, prefix = ""): Promise<OpenDoor> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    ask: (path, init) => fetch(`http://127.0.0.1:${port}${prefix}${path}`, init),
    [Symbol.asyncDispose]: () => closeServer(server),
  };
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
}

function expressDoor(
  name: string,
  prefix: string,
  mount: (server: Express, app: Application<OpenAiIngress>) => void,
): Door {
  return {
    name,
    answersUnknownPaths: false,
    open: (app) => {
      const server = express();
      mount(server, app);
      server.get("/next", (_request, response) => void response.send("the next handler"));
      return serveListener(server, prefix);
    },
  };
}

/** A body parser of a framework must take what the application is to refuse. */
const parserLimit = 64 * 1024 * 1024;

function fastifyDoor(
  name: string,
  mount: (scope: FastifyInstance, app: Application<OpenAiIngress>) => void,
): Door {
  return {
    name,
    answersUnknownPaths: true,
    async open(app) {
      const web = fastify({ bodyLimit: parserLimit, forceCloseConnections: true });
      await web.register((scope, _options, done) => {
        mount(scope, app);
        done();
      });
      const url = await web.listen({ port: 0, host: "127.0.0.1" });
      return {
        port: Number(new URL(url).port),
        ask: (path, init) => fetch(`${url}${path}`, init),
        [Symbol.asyncDispose]: () => web.close(),
      };
    },
  };
}

function koaDoor(
  name: string,
  before: (web: Koa) => void,
  beforeHandler: (context: Koa.Context) => void,
): Door {
  return {
    name,
    answersUnknownPaths: true,
    open: (app) => {
      const web = new Koa();
      before(web);
      web.use((context) => {
        context.respond = false;
        beforeHandler(context);
        app.handler(context.req, context.res);
      });
      const callback = web.callback();
      return serveListener((request, response) => void callback(request, response));
    },
  };
}

/** What a body parser of Koa does: the bytes are read, and what they say is in `context.request.body`. */
async function koaBodyParser(context: Koa.Context, next: Koa.Next): Promise<void> {
  if (context.is("application/json")) {
    const chunks: Buffer[] = [];
    for await (const chunk of context.req) chunks.push(chunk as Buffer);
    const { request } = context as { request: { body?: unknown } };
    request.body = JSON.parse(Buffer.concat(chunks).toString());
  }
  await next();
}

/** Tests are compiled without decorators; they are functions. */
class NestModule {
  readonly controllers = [];
}
Module({})(NestModule);

function nestDoor(name: string, prepare: (web: NestExpressApplication) => void): Door {
  return {
    name,
    answersUnknownPaths: false,
    async open(app) {
      const web = await NestFactory.create<NestExpressApplication>(NestModule, {
        logger: false,
        forceCloseConnections: true,
      });
      prepare(web);
      web.use(app.handler);
      await web.listen(0, "127.0.0.1");
      const url = await web.getUrl();
      return {
        port: Number(new URL(url).port),
        ask: (path, init) => fetch(`${url}${path}`, init),
        [Symbol.asyncDispose]: () => web.close(),
      };
    },
  };
}

function honoDoor(name: string, mount: (web: Hono, app: Application<OpenAiIngress>) => void): Door {
  return {
    name,
    answersUnknownPaths: true,
    open: async (app) => {
      const web = new Hono();
      mount(web, app);
      const server = createAdaptorServer({ fetch: web.fetch }) as Server;
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const { port } = server.address() as AddressInfo;
      return {
        port,
        ask: (path, init) => fetch(`http://127.0.0.1:${port}${path}`, init),
        [Symbol.asyncDispose]: () => closeServer(server),
      };
    },
  };
}

/** Every door that all conformance tests go through. */
export const doors: readonly Door[] = [
  {
    name: "app.fetch",
    answersUnknownPaths: true,
    open: async (app) => ({
      port: undefined,
      ask: (path, init) => app.fetch(new Request(`http://localhost${path}`, init)),
      [Symbol.asyncDispose]: async () => undefined,
    }),
  },
  { name: "node:http", answersUnknownPaths: true, open: (app) => serveListener(app.handler) },
  expressDoor("Express", "", (server, app) => void server.use(app.handler)),
  expressDoor(
    "Express before express.json()",
    "",
    (server, app) => void server.use(app.handler, express.json()),
  ),
  expressDoor("Express after express.json()", "", (server, app) => {
    server.use(express.json({ limit: "64mb" }), app.handler);
  }),
  expressDoor("Express under a prefix", "/llm", (server, app) => void server.use("/llm", app.handler)),
  fastifyDoor("Fastify", (scope, app) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", (_request, _payload, parsed) => parsed(null));
    scope.all("/*", (request, reply) => {
      reply.hijack();
      app.handler(request.raw, reply.raw);
    });
  }),
  fastifyDoor("Fastify with its own body parser", (scope, app) => {
    scope.all("/*", (request, reply) => {
      reply.hijack();
      app.handler(Object.assign(request.raw, { body: request.body }), reply.raw);
    });
  }),
  honoDoor("Hono", (web, app) => void web.all("*", (context) => app.fetch(context.req.raw))),
  honoDoor("Hono after the body was read", (web, app) => {
    web.use(async (context, next) => {
      if (context.req.header("content-type") === "application/json") await context.req.json();
      await next();
    });
    web.all("*", async (context) => {
      const { raw } = context.req;
      // Hono keeps what was read; the request itself is used up.
      if (!raw.bodyUsed) return app.fetch(raw);
      const { method } = raw;
      return app.fetch(new Request(raw, { method, body: await context.req.text() }));
    });
  }),
  koaDoor(
    "Koa",
    () => undefined,
    () => undefined,
  ),
  koaDoor(
    "Koa after a body parser",
    (web) => void web.use((context, next) => koaBodyParser(context, next)),
    (context) => {
      const { body } = context.request as { body?: unknown };
      Object.assign(context.req, { body });
    },
  ),
  nestDoor("NestJS", () => undefined),
  nestDoor("NestJS after its body parser", (web) => void web.useBodyParser("json", { limit: parserLimit })),
];

/** A chat request. */
export function chat(fields: Readonly<Record<string, unknown>> = {}): RequestInit {
  return post({
    model: "mock-model",
    messages: [{ role: "user", content: "Tell me of the sea." }],
    ...fields,
  });
}

/** A POST with a JSON body. */
export function post(body: unknown, headers: Readonly<Record<string, string>> = {}): RequestInit {
  return {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  };
}

/** What came of a stream before it ended or broke. */
export async function readStream(
  response: Response,
): Promise<{ readonly text: string; readonly broken: boolean }> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const chunk of response.body!) text += decoder.decode(chunk, { stream: true });
    return { text, broken: false };
  } catch {
    return { text, broken: true };
  }
}

/** The error object of an answer. */
export async function errorIn(response: Response): Promise<Readonly<Record<string, unknown>>> {
  const { error } = (await response.json()) as { readonly error: Readonly<Record<string, unknown>> };
  return error;
}

/** Turns of the event loop until a number stands still: sockets on loopback move within a turn or two. */
export async function untilStill(value: () => number): Promise<number> {
  let last = value();
  for (let still = 0; still < 300; still += 1) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (value() !== last) {
      last = value();
      still = 0;
    }
  }
  return last;
}
