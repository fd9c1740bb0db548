import type { ServerResponse } from "node:http";

import { afterEach, describe, expect, it } from "vitest";

import { buildOpenaiApp } from "../src/builders/build-openai-app.ts";
import { buildPdOpenaiApp } from "../src/builders/build-pd-openai-app.ts";
import { makeIngress } from "../src/ingress/make-ingress.ts";
import { OpenAiIngress } from "../src/ingress/openai-ingress.ts";
import type { Application } from "../src/serve/application.ts";
import { type Ask, errorIn, post, readStream } from "./door-fixtures.ts";
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

async function engine(...answers: readonly ScriptedAnswer[]): Promise<ScriptedEngine> {
  const made = await scriptedEngine(...answers);
  cleanups.push(() => Promise.resolve(made[Symbol.asyncDispose]()));
  return made;
}

function askerOf(app: Application<OpenAiIngress>): Ask {
  cleanups.push(() => app.shutdown({ graceMs: 0 }));
  return (path, init) => app.fetch(new Request(`http://h${path}`, init));
}

/** A model served by these engines. */
function serve(
  urls: readonly string[],
  fields: Readonly<Record<string, unknown>> = {},
  ingressCls = OpenAiIngress,
): Ask {
  const config = { modelLoadingConfig: { modelId: "m" }, endpoints: urls, ...fields };
  return askerOf(buildOpenaiApp({ llmConfigs: [config], ingressClsConfig: { ingressCls } }));
}

const created = 'event: response.created\ndata: {"type":"response.created","response":{"error":null}}\n\n';
const delta =
  'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"日本"}\n\n';
const completed = 'event: response.completed\ndata: {"type":"response.completed"}\n\n';
const messageStart = 'event: message_start\ndata: {"type":"message_start"}\n\n';
const overloaded =
  'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n';
const messageStop = 'event: message_stop\ndata: {"type":"message_stop"}\n\n';

describe("requests that go to an engine as they came", () => {
  it.each([
    ["/v1/embeddings", { model: "m", input: ["a", "b"] }],
    ["/v1/embeddings", { input: [[1, 2], [3]], encoding_format: "base64" }],
    ["/v1/score", { model: "m", text_1: "a", text_2: ["b"] }],
    ["/score", { text_1: "a", text_2: "b" }],
    ["/v1/rerank", { query: "q", documents: ["a"] }],
    ["/rerank", { query: "q", documents: ["a"] }],
    ["/v2/rerank", { query: "q", documents: ["a"] }],
    ["/tokenize", { prompt: "a" }],
    ["/tokenize", { messages: [{ role: "user", content: "a" }] }],
    ["/detokenize", { tokens: [1] }],
    ["/v1/responses", { input: "a" }],
    ["/v1/messages", { messages: [{ role: "user", content: "a" }], max_tokens: 5 }],
    ["/v1/messages/count_tokens", { messages: [{ role: "user", content: "a" }] }],
  ])("%s %j", async (path, body) => {
    const { url, received } = await engine(json({ result: 1 }));
    const response = await serve([url])(`${path}?a=b`, post(` ${JSON.stringify(body)}\n`));
    expect([response.status, await response.json()]).toEqual([200, { result: 1 }]);
    expect(received).toHaveLength(1);
    expect([received[0]!.path, received[0]!.body.toString()]).toEqual([
      `${path}?a=b`,
      ` ${JSON.stringify(body)}\n`,
    ]);
  });

  it.each(["transcriptions", "translations"])("audio %s, byte for byte", async (what) => {
    const { url, received } = await engine(json({ text: "hello" }));
    const audio = Uint8Array.from({ length: 100_000 }, (_, index) => index % 256);
    const form = new FormData();
    form.append("model", "m");
    form.append("file", new File([audio], "a.wav"));
    const sent = new Request("http://h/", { method: "POST", body: form });
    const bytes = Buffer.from(await sent.clone().arrayBuffer());
    const headers = { "content-type": sent.headers.get("content-type")! };
    const response = await serve([url])(`/v1/audio/${what}`, { method: "POST", body: bytes, headers });
    expect([response.status, await response.json()]).toEqual([200, { text: "hello" }]);
    expect(received[0]!.body.equals(bytes)).toBe(true);
    expect(received[0]!.headers["content-type"]).toBe(headers["content-type"]);
  });

  it("the model of a form decides who serves it", async () => {
    const form = new FormData();
    form.append("file", new File(["RIFF"], "a.wav"));
    form.append("model", "other");
    const { url, received } = await engine(json({}));
    const response = await serve([url])("/v1/audio/transcriptions", { method: "POST", body: form });
    expect([response.status, (await errorIn(response))["code"]]).toEqual([404, "model_not_found"]);
    expect(received).toEqual([]);
  });

  it("names everything that is wrong with a form", async () => {
    const form = new FormData();
    for (const [name, value] of [
      ["response_format", "xml"],
      ["temperature", "hot"],
      ["stream", "maybe"],
    ])
      form.append(name!, value!);
    const { url } = await engine(json({}));
    const error = await errorIn(
      await serve([url])("/v1/audio/transcriptions", { method: "POST", body: form }),
    );
    for (const field of ["file", "response_format", "temperature", "stream"])
      expect(error["message"]).toContain(`\`${field}\``);
    expect(error["message"]).not.toMatch(/hot|maybe|xml/);
  });

  it("decode alone gets them when prefill and decode are apart", async () => {
    const [prefill, decode] = [await engine(json({})), await engine(json({ data: [] }))];
    const kv = { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } };
    const configFor = (url: string): object => ({
      modelLoadingConfig: { modelId: "m" },
      engineKwargs: kv,
      endpoints: [url],
    });
    const ask = askerOf(
      buildPdOpenaiApp({
        prefillConfig: configFor(prefill.url),
        decodeConfig: configFor(decode.url),
      } as never),
    );
    expect((await ask("/v1/embeddings", post({ input: "a" }))).status).toBe(200);
    expect([prefill.received.length, decode.received.length]).toEqual([0, 1]);
  });

  it("routes of one's own need no method", async () => {
    const { url, received } = await engine(json({ ok: true }));
    const ownIngress = makeIngress(OpenAiIngress, {
      routes: { reset: { method: "POST", path: "/reset_prefix_cache", goesTo: "decode" } },
    });
    const ask = serve([url], {}, ownIngress);
    expect(await (await ask("/reset_prefix_cache", { method: "POST" })).json()).toEqual({ ok: true });
    expect([received[0]!.path, received[0]!.body.byteLength]).toEqual(["/reset_prefix_cache", 0]);
    expect((await serve([url])("/reset_prefix_cache", { method: "POST" })).status).toBe(404);
  });
});

describe("answers", () => {
  it.each([
    ["text/plain; charset=utf-8", "1\n00:00 --> 00:01\nhello\n"],
    ["application/octet-stream", "\u0000\u0001"],
  ])("of type %s pass as they are", async (type, text) => {
    const { url } = await engine(
      (response) => void response.writeHead(200, { "content-type": type }).end(text),
    );
    const response = await serve([url])("/v1/embeddings", post({ input: "a" }));
    expect([response.headers.get("content-type"), await response.text()]).toEqual([type, text]);
  });

  it("an error under status 200 is an error", async () => {
    const { url } = await engine(
      json({ error: { message: "no", type: "BadRequestError", param: "input", code: 400 } }),
    );
    const response = await serve([url])("/v1/embeddings", post({ input: "a" }));
    expect([response.status, await errorIn(response)]).toEqual([
      400,
      { message: "no", type: "BadRequestError", param: "input", code: 400 },
    ]);
  });

  it("a failed response of the Responses API is an answer", async () => {
    const failed = {
      id: "resp_1",
      object: "response",
      status: "failed",
      error: { code: "server_error", message: "x" },
    };
    const { url } = await engine(json(failed));
    const response = await serve([url])("/v1/responses", post({ input: "a" }));
    expect([response.status, await response.json()]).toEqual([200, failed]);
  });

  it("what is between engines is taken out", async () => {
    const { url } = await engine(
      json({ id: "resp_1", kv_transfer_params: { remote_host: "10.0.0.1" }, output: [] }),
    );
    expect(await (await serve([url])("/v1/responses", post({ input: "a" }))).json()).toEqual({
      id: "resp_1",
      output: [],
    });
  });

  it("another engine is asked when one fails, and none when the request is at fault", async () => {
    const bad = await engine(json({ error: "dead" }, 503));
    const good = await engine(json({ ok: 1 }));
    const ask = serve([bad.url, good.url]);
    for (let index = 0; index < 4; index += 1)
      expect((await ask("/tokenize", post({ prompt: "a" }))).status).toBe(200);
    expect(good.received).toHaveLength(4);

    const refusal = json({ error: { message: "no", type: "BadRequestError", code: 400 } }, 400);
    const refusing = [await engine(refusal), await engine(refusal)];
    const response = await serve(refusing.map(({ url }) => url))("/tokenize", post({ prompt: "a" }));
    expect(response.status).toBe(400);
    await response.text();
    expect(refusing.flatMap(({ received }) => received)).toHaveLength(1);
  });

  it.each([
    [
      "no JSON",
      (response: ServerResponse) =>
        void response.writeHead(200, { "content-type": "application/json" }).end("{"),
      502,
    ],
    [
      "compressed",
      (response: ServerResponse) => void response.writeHead(200, { "content-encoding": "gzip" }).end("x"),
      502,
    ],
    ["late", () => undefined, 504],
  ])("an answer that is %s is a %s", async (_what, answer, status) => {
    const { url } = await engine(answer);
    const response = await serve([url], { client: { firstByteTimeoutMs: 100 } })(
      "/tokenize",
      post({ prompt: "a" }),
    );
    expect(response.status).toBe(status);
    await response.text();
  });
});

describe("streams", () => {
  it.each([
    ["/v1/responses", { input: "a", stream: true }, [created, delta, completed]],
    ["/v1/messages", { messages: [], stream: true }, [messageStart, messageStop]],
    ["/v1/messages", { messages: [], stream: true }, [messageStart, messageStop, "data: [DONE]\n\n"]],
  ])("%s pass to the end, however they are cut (%#)", async (path, body, texts) => {
    const whole = texts.join("");
    for (const size of [1, 7, 1000]) {
      const bytes = Buffer.from(whole);
      const { url } = await engine((response) => {
        response.writeHead(200, { "content-type": "text/event-stream" });
        for (let at = 0; at < bytes.length; at += size) response.write(bytes.subarray(at, at + size));
        response.end();
      });
      const response = await serve([url])(path, post(body));
      expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
      expect(await readStream(response)).toEqual({ text: whole, broken: false });
    }
  });

  it("end with one event in the route's own format when they break", async () => {
    const cases = [
      ["/v1/responses", [created, delta], { type: "error", code: "stream_truncated" }],
      ["/v1/messages", [messageStart], { type: "error", error: { type: "api_error" } }],
    ] as const;
    for (const [path, texts, expected] of cases) {
      const { url } = await engine(events(texts));
      const { text, broken } = await readStream(
        await serve([url])(path, post({ input: "a", messages: [], stream: true })),
      );
      expect(broken).toBe(true);
      expect(text.startsWith(texts.join(""))).toBe(true);
      const [, data] = /^event: error\ndata: (.*)\n\n$/.exec(text.slice(texts.join("").length))!;
      expect(JSON.parse(data!)).toMatchObject(expected);
    }
  });

  it("end with one error event when the engine reports one", async () => {
    let report = (): void => undefined;
    const { url } = await engine((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(messageStart);
      report = () => response.end(overloaded + messageStop);
    });
    const response = await serve([url])("/v1/messages", post({ messages: [], stream: true }));
    report();
    const { text, broken } = await readStream(response);
    expect([broken, text.split("event: error")]).toEqual([
      true,
      [messageStart, expect.stringContaining("busy")],
    ]);
  });

  it("are an error answer when the engine reports one before anything was sent on", async () => {
    const { url } = await engine((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end(messageStart + overloaded + messageStop);
    });
    const response = await serve([url])("/v1/messages", post({ messages: [], stream: true }));
    expect([response.status, await response.text()]).toEqual([502, expect.stringContaining("busy")]);
  });

  it("end with one error event when the connection breaks", async () => {
    const { url } = await engine(events([created, delta], true));
    const { text, broken } = await readStream(
      await serve([url])("/v1/responses", post({ input: "a", stream: true })),
    );
    expect([broken, text.endsWith("\n\n"), text.includes("stream_disconnected")]).toEqual([true, true, true]);
  });

  it("are whole once their last event came, even if the connection breaks then", async () => {
    const { url } = await engine(events([created, completed], true));
    const result = await readStream(await serve([url])("/v1/responses", post({ input: "a", stream: true })));
    expect(result).toEqual({ text: created + completed, broken: false });
  });

  it("are asked for elsewhere while nothing was promised", async () => {
    const { url, received } = await engine(events([]), events([created, completed]));
    const response = await serve([url])("/v1/responses", post({ input: "a", stream: true }));
    expect([response.status, (await readStream(response)).text]).toEqual([200, created + completed]);
    expect(received).toHaveLength(2);
  });

  it("stop the engine when the client leaves", async () => {
    const { url, received } = await engine((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write(created);
    });
    const response = await serve([url])("/v1/responses", post({ input: "a", stream: true }));
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    await until(() => received[0]!.closed);
  });

  it("break when no event comes for too long", async () => {
    const { url } = await engine((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write(created);
    });
    const ask = serve([url], { client: { interTokenTimeoutMs: 50 } });
    const { text, broken } = await readStream(await ask("/v1/responses", post({ input: "a", stream: true })));
    expect([broken, text.includes("stream_timeout")]).toEqual([true, true]);
  });
});
