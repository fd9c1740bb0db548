import { afterEach, describe, expect, it } from "vitest";

import { buildLlmDeployment } from "../src/builders/build-llm-deployment.ts";
import { buildOpenaiApp } from "../src/builders/build-openai-app.ts";
import { serve } from "../src/builders/serve.ts";
import { ConfigurationError } from "../src/errors/configuration-error.ts";
import { EngineResponseError } from "../src/errors/engine-response-error.ts";
import { EngineStreamError } from "../src/errors/engine-stream-error.ts";
import { RequestCancelledError } from "../src/errors/request-cancelled-error.ts";
import { RequestError } from "../src/errors/request-error.ts";
import type { OpenAiIngress } from "../src/ingress/openai-ingress.ts";
import type { LLMHandle } from "../src/llm/llm-handle.ts";
import type { Application } from "../src/serve/application.ts";
import { mockAnswer, MockVLLMEngine } from "../src/testing/index.ts";
import { pdFixture, post } from "./door-fixtures.ts";
import { until } from "./support/until.ts";
import {
  events,
  json,
  scriptedEngine,
  type ScriptedAnswer,
  type ScriptedEngine,
} from "./support/scripted-engine.ts";

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function served(
  ...answers: readonly ScriptedAnswer[]
): Promise<{ readonly app: Application<OpenAiIngress>; readonly engine: ScriptedEngine }> {
  const engine = await scriptedEngine(...answers);
  const app = buildOpenaiApp({
    llmConfigs: [{ modelLoadingConfig: { modelId: "m" }, endpoints: [engine.url] }],
  });
  cleanups.push(
    () => Promise.resolve(engine[Symbol.asyncDispose]()),
    () => app.shutdown({ graceMs: 0 }),
  );
  return { app, engine };
}

async function collect<Item>(items: AsyncIterable<Item>): Promise<readonly Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Each call that gives a whole answer: how it is made, and where it goes on an engine. */
const calls: readonly (readonly [string, (handle: LLMHandle) => Promise<unknown>, object])[] = [
  ["/v1/embeddings", (handle) => handle.embeddings({ input: "a" }), { input: "a" }],
  ["/v1/score", (handle) => handle.score({ text_1: "a", text_2: "b" }), { text_1: "a", text_2: "b" }],
  [
    "/v1/rerank",
    (handle) => handle.rerank({ query: "q", documents: ["a"] }),
    { query: "q", documents: ["a"] },
  ],
  ["/tokenize", (handle) => handle.tokenize({ prompt: "a" }), { prompt: "a" }],
  ["/detokenize", (handle) => handle.detokenize({ tokens: [1] }), { tokens: [1] }],
  ["/v1/responses", (handle) => handle.responses({ input: "a" }), { input: "a" }],
  [
    "/v1/messages",
    (handle) => handle.messages({ messages: [], max_tokens: 1 }),
    { messages: [], max_tokens: 1 },
  ],
  ["/v1/messages/count_tokens", (handle) => handle.countMessageTokens({ messages: [] }), { messages: [] }],
];

describe("app.handle", () => {
  it.each(calls)("%s gives what HTTP gives", async (path, call, body) => {
    const { app, engine } = await served(json({ id: "x", result: [1, { deep: null }] }));
    const result = await call(app.handle);
    const overHttp = await app.fetch(new Request(`http://h${path}`, post(body)));
    expect(result).toEqual(await overHttp.json());
    expect(engine.received.map((each) => [each.path, each.body.toString()])).toEqual(
      Array.from({ length: 2 }, () => [path, JSON.stringify(body)]),
    );
  });

  it("sends audio as a form, with every item of a list", async () => {
    const { app, engine } = await served(
      json({ text: "hello" }),
      (response) =>
        void response.writeHead(200, { "content-type": "text/plain; charset=utf-8" }).end("1\nhé"),
      events(['data: {"choices":[{"delta":{"content":"he"}}]}\n\n', "data: [DONE]\n\n"]),
    );
    const audio = Uint8Array.from({ length: 1000 }, (_, index) => index % 256);
    const file = new File([audio], "a.wav", { type: "audio/wav" });
    const granularities = { "timestamp_granularities[]": ["word", "segment"], language: null };
    expect(await app.handle.transcriptions({ file, model: "m", temperature: 0, ...granularities })).toEqual({
      text: "hello",
    });
    const { headers, body, path } = engine.received[0]!;
    expect(path).toBe("/v1/audio/transcriptions");
    const form = await new Response(body as Uint8Array<ArrayBuffer>, {
      headers: { "content-type": headers["content-type"]! },
    }).formData();
    const sent = form.get("file") as File;
    expect([sent.name, new Uint8Array(await sent.arrayBuffer())]).toEqual(["a.wav", audio]);
    expect([...form.keys()].filter((name) => name !== "file")).toEqual([
      "model",
      "temperature",
      "timestamp_granularities[]",
      "timestamp_granularities[]",
    ]);
    expect(await app.handle.translations({ file, response_format: "srt" })).toBe("1\nhé");
    expect(await collect(app.handle.transcriptions({ file, stream: true }))).toEqual([
      { choices: [{ delta: { content: "he" } }] },
    ]);
  });

  it("streams the events of responses and messages, and ends when they are whole", async () => {
    const { app } = await served(
      events([
        'event: response.created\ndata: {"type":"response.created","response":{"error":null}}\n\n',
        'event: response.completed\ndata: {"type":"response.completed"}\n\n',
      ]),
      events(['event: message_stop\ndata: {"type":"message_stop"}\n\n']),
      events(['event: response.created\ndata: {"type":"response.created"}\n\n']),
    );
    const types = (items: readonly { readonly type: string }[]): readonly string[] =>
      items.map(({ type }) => type);
    const responses = await collect(app.handle.responses({ input: "a", stream: true }));
    expect(types(responses)).toEqual(["response.created", "response.completed"]);
    const messages = await collect(app.handle.messages({ messages: [], stream: true }));
    expect(types(messages)).toEqual(["message_stop"]);
    // Cut before its last event: the error comes while it is read.
    await expect(collect(app.handle.responses({ input: "a", stream: true }))).rejects.toThrow(
      EngineStreamError,
    );
  });

  it("throws what HTTP answers as an error", async () => {
    const { app, engine } = await served(
      json({ error: { message: "no such dimension", type: "BadRequestError", code: 400 } }, 400),
    );
    await expect(app.handle.embeddings({})).rejects.toMatchObject({
      constructor: RequestError,
      status: 400,
      param: "input",
    });
    await expect(app.handle.embeddings({ input: "a", model: "other" })).rejects.toMatchObject({
      constructor: RequestError,
      status: 404,
      code: "model_not_found",
    });
    await expect(
      app.handle.tokenize({ prompt: "a", nested: { kv_transfer_params: {} } }),
    ).rejects.toMatchObject({ code: "field_not_allowed" });
    expect(engine.received).toEqual([]);
    await expect(app.handle.embeddings({ input: "a" })).rejects.toMatchObject({
      constructor: EngineResponseError,
      status: 400,
      message: expect.stringContaining("no such dimension"),
    });
  });

  it("stops the engine when the signal fires, or the loop is left", async () => {
    const { app, engine } = await served(
      () => undefined,
      (response) => {
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write('event: response.created\ndata: {"type":"response.created"}\n\n');
      },
    );
    const controller = new AbortController();
    const waiting = app.handle.embeddings({ input: "a" }, { signal: controller.signal });
    await until(() => engine.received.length === 1);
    controller.abort();
    await expect(waiting).rejects.toThrow(RequestCancelledError);
    await until(() => engine.received[0]!.closed);
    for await (const _event of app.handle.responses({ input: "a", stream: true })) break;
    await until(() => engine.received[1]!.closed);
    expect(app.status().inFlight).toBe(0);
  });

  it("lists models as over HTTP", async () => {
    const { app } = await served(json({}));
    const overHttp = await app.fetch(new Request("http://h/v1/models"));
    expect(await app.handle.models()).toEqual(await overHttp.json());
    expect((await app.handle.modelData("m")).id).toBe("m");
    await expect(app.handle.modelData("n")).rejects.toMatchObject({ status: 404 });
  });
});

describe("serve.getDeploymentHandle", () => {
  const body = { messages: [{ role: "user", content: "Say something." }], max_tokens: 5 };

  it("calls each deployment of an application", async () => {
    await using fixture = await pdFixture();
    const { app, prefill, decode } = fixture;
    const model = prefill.options.model;
    const expected = mockAnswer(body, 5);
    for (const [name, engine, other] of [
      [`Prefill:${model}`, prefill, decode],
      [`Decode:${model}`, decode, prefill],
    ] as const) {
      const before = other.requests.filter(({ path }) => path.startsWith("/v1/chat")).length;
      const answer = await serve.getDeploymentHandle(name, app).chat(body);
      expect(answer.choices[0]?.message.content).toBe(expected);
      expect(engine.requests.some(({ path }) => path.startsWith("/v1/chat"))).toBe(true);
      expect(other.requests.filter(({ path }) => path.startsWith("/v1/chat")).length).toBe(before);
    }
    for (const name of ["PDProxyServer", app.name]) {
      const handle = serve.getDeploymentHandle(name, app);
      expect((await handle.chat(body)).choices[0]?.message.content).toBe(expected);
      expect((await handle.models()).data.map(({ id }) => id)).toEqual([model]);
    }
    expect(app.pdHealth()[0]).toMatchObject({ requests: 2 });
    prefill.ledger.assertBalanced();
  });

  it("finds running applications by name, and calls one that has no ingress", async () => {
    const engine = new MockVLLMEngine({ model: "m" });
    await engine.start();
    cleanups.push(() => engine.stop());
    const app = buildLlmDeployment({ modelLoadingConfig: { modelId: "m" }, endpoints: [engine.url] });
    const running = await serve.run(app, { port: 0, name: "alone" });
    cleanups.push(() => running.shutdown());
    const { choices } = await serve.getAppHandle("alone").chat(body);
    expect(choices[0]?.message.content).toBe(mockAnswer(body, 5));
    expect(() => serve.getAppHandle("gone")).toThrow(/No application of this name runs; got "gone"/);
    expect(() => serve.getDeploymentHandle("gone", app)).toThrow(/one of "LLMServer:m"; got "gone"/);
    expect(() => app.handle).toThrow(/no in-process handle of its own/);
  });

  it("refuses a deployment that serves no model", () => {
    class Other {
      readonly start = (): Promise<void> => Promise.resolve();
    }
    const app = serve.deployment(Other).bind({});
    expect(() => serve.getDeploymentHandle("Other", app)).toThrow(ConfigurationError);
  });
});
