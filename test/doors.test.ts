import { request as httpRequest, type ServerResponse } from "node:http";

import express from "express";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { type Fault, FakeClock, type MockVLLMEngine } from "../src/testing/index.ts";
import {
  chat,
  doors,
  errorIn,
  modelRequests,
  type OpenDoor,
  pdFixture,
  type PDFixture,
  post,
  readStream,
  serveListener,
  untilStill,
} from "./door-fixtures.ts";
import { until } from "./support/until.ts";
import { contentOf } from "./mock-engine-client.ts";

const chatPath = "/v1/chat/completions";

let fixture: PDFixture;

beforeEach(async () => {
  // A clock that stands still: nothing here may come about because time went by.
  fixture = await pdFixture({ ingress: { maxBodyBytes: 1_000_000 }, clock: new FakeClock() });
});

afterEach(async () => {
  await fixture[Symbol.asyncDispose]();
});

/** The client leaves; resolves when the engine saw it. */
async function leave(controller: AbortController, engine: MockVLLMEngine): Promise<void> {
  controller.abort();
  await engine.idle();
  expect(modelRequests(engine).at(-1)!.abortedAt).toBeDefined();
}

describe.each(doors)("$name", (door) => {
  let open: OpenDoor;

  beforeEach(async () => {
    open = await door.open(fixture.app);
  });

  afterEach(async () => {
    await open[Symbol.asyncDispose]();
  });

  it("answers a chat through prefill and decode", async () => {
    const response = await open.ask(chatPath, chat({ max_tokens: 8 }));
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f]{32}$/);
    const body = (await response.json()) as { choices: { message: { content: string } }[] };
    expect(body.choices[0]!.message.content.split(" ")).toHaveLength(8);
    expect(modelRequests(fixture.prefill)).toHaveLength(1);
    expect(modelRequests(fixture.decode)).toHaveLength(1);
  });

  it("streams to the end, with headers that nothing on the way buffers", async () => {
    const response = await open.ask(chatPath, chat({ stream: true, max_tokens: 8 }));
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
    });
    expect(response.headers.has("content-length")).toBe(false);
    const { text, broken } = await readStream(response);
    expect(broken).toBe(false);
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
    expect(contentOf(text).split(" ")).toHaveLength(8);
  });

  it("keeps the client's request id, made safe", async () => {
    const response = await open.ask(chatPath, {
      ...chat(),
      headers: { "content-type": "application/json", "x-request-id": "a b" },
    });
    expect(response.headers.get("x-request-id")).toBe("a_b");
    await response.text();
  });

  it.each([
    ["an unknown model", chat({ model: "other" }), 404, "model_not_found"],
    ["fields of the wrong kind", chat({ stream: "yes", n: "two" }), 400, "invalid_parameter"],
    ["no messages", post({ model: "mock-model" }), 400, "invalid_parameter"],
    ["a field between engines", chat({ kv_transfer_params: {} }), 400, "field_not_allowed"],
  ])("refuses %s", async (_what, init, status, code) => {
    const response = await open.ask(chatPath, init);
    expect(response.status).toBe(status);
    expect((await errorIn(response))["code"]).toBe(code);
    expect([...modelRequests(fixture.prefill), ...modelRequests(fixture.decode)]).toEqual([]);
  });

  it("says which methods a path accepts", async () => {
    const response = await open.ask(chatPath, {
      method: "PUT",
      body: "{}",
      headers: { "content-type": "application/json" },
    });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "POST"]);
    expect((await errorIn(response))["code"]).toBe("method_not_allowed");
  });

  it("leaves unknown paths to whoever comes next", async () => {
    const response = await open.ask("/nothing/here");
    expect(response.status).toBe(404);
    const text = await response.text();
    expect(text.includes("unknown_route")).toBe(door.answersUnknownPaths);
  });

  it("answers HEAD like GET, without a body", async () => {
    const get = await open.ask("/v1/models");
    const head = await open.ask("/v1/models", { method: "HEAD" });
    expect(head.status).toBe(200);
    expect(head.headers.get("content-length")).toBe(String((await get.arrayBuffer()).byteLength));
    expect((await head.arrayBuffer()).byteLength).toBe(0);
  });

  it("hands on an engine's 4xx as it is", async () => {
    const response = await open.ask(chatPath, chat({ max_tokens: 100_000 }));
    expect(response.status).toBe(400);
    expect(await errorIn(response)).toMatchObject({ type: "BadRequestError", code: 400 });
  });

  it("ends a broken stream with one error event and a cut connection", async () => {
    fixture.decode.injectFault({ match: { phase: "decode" }, fault: { kind: "truncated", afterTokens: 3 } });
    const { text, broken } = await readStream(await open.ask(chatPath, chat({ stream: true })));
    expect(broken).toBe(true);
    expect(text).not.toContain("[DONE]");
    const last = text.trimEnd().split("\n\n").at(-1)!;
    expect(JSON.parse(last.slice("data: ".length))).toMatchObject({ error: { code: "stream_truncated" } });
    expect(text.split('"error"')).toHaveLength(2);
  });

  it("refuses a body beyond the limit, announced or not", async () => {
    const large = JSON.stringify({
      model: "mock-model",
      messages: [{ role: "user", content: "x".repeat(2_000_000) }],
    });
    const announced = await open.ask(chatPath, post(large));
    expect(announced.status).toBe(413);
    expect((await errorIn(announced))["code"]).toBe("body_too_large");
    const unannounced = await open.ask(chatPath, {
      ...post(""),
      body: new Blob([large]).stream(),
      duplex: "half",
    });
    expect(unannounced.status).toBe(413);
    await unannounced.text();
    expect(modelRequests(fixture.prefill)).toEqual([]);
  });

  it.each(["prefill", "decode"] as const)(
    "tells %s at once when the client leaves before an answer",
    async (side) => {
      fixture[side].injectFault({ match: { phase: side }, fault: { kind: "stallBeforeHeaders" } });
      const controller = new AbortController();
      const outcome = open.ask(chatPath, { ...chat({ stream: true }), signal: controller.signal }).then(
        ({ status }) => status,
        (error: Error) => error.name,
      );
      await until(() => modelRequests(fixture[side]).length > 0);
      await leave(controller, fixture[side]);
      // Through app.fetch there is nobody to reject to: the answer is made, and says so.
      expect(await outcome).toBe(open.port === undefined ? 499 : "AbortError");
    },
  );

  it("tells decode at once when the client leaves within a stream", async () => {
    fixture.decode.injectFault({
      match: { phase: "decode" },
      fault: { kind: "stallAfterTokens", tokens: 3 },
    });
    const controller = new AbortController();
    const response = await open.ask(chatPath, { ...chat({ stream: true }), signal: controller.signal });
    const reader = response.body!.getReader();
    await reader.read();
    await leave(controller, fixture.decode);
    await reader.cancel().catch(() => undefined);
    expect(fixture.app.status().inFlight).toBe(0);
  });

  it("tells decode at once when the client stops reading for good", async () => {
    fixture.decode.injectFault({
      match: { phase: "decode" },
      fault: { kind: "stallAfterTokens", tokens: 3 },
    });
    const response = await open.ask(chatPath, chat({ stream: true }));
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    await fixture.decode.idle();
    expect(modelRequests(fixture.decode)[0]!.abortedAt).toBeDefined();
    await until(() => fixture.app.status().inFlight === 0);
  });

  it("stops the engine while the client does not read, and loses nothing", async () => {
    const bytes = 64 * 1024 * 1024;
    fixture.decode.injectFault({ match: { phase: "decode" }, fault: { kind: "hugeAnswer", bytes } });
    const response = await open.ask(chatPath, chat({ stream: true }));
    const reader = response.body!.getReader();
    let received = (await reader.read()).value!.byteLength;
    const entry = modelRequests(fixture.decode)[0]!;
    const written = await untilStill(() => entry.bytes);
    // What fits into the buffers of the sockets on the way, and no more.
    expect(written).toBeLessThan(bytes / 2);
    for (let part = await reader.read(); !part.done; part = await reader.read())
      received += part.value.byteLength;
    expect(received).toBeGreaterThanOrEqual(bytes);
    expect(entry.bytes).toBe(received);
  });

  it("forwards what is no text generation to decode", async () => {
    const response = await open.ask("/tokenize", post({ model: "mock-model", prompt: "a b" }));
    expect(await response.json()).toMatchObject({ count: 2 });
    expect(modelRequests(fixture.decode).map(({ path }) => path)).toEqual(["/tokenize"]);
    expect(modelRequests(fixture.prefill)).toEqual([]);
  });
});

describe("node:http and Express", () => {
  it("hands the next handler what is not served", async () => {
    await using open = await doors.find(({ name }) => name === "Express")!.open(fixture.app);
    expect(await (await open.ask("/next")).text()).toBe("the next handler");
  });

  it.each([
    ["whole, while decode has said nothing", { kind: "stallBeforeHeaders" }, true],
    ["in part, while decode has said nothing", { kind: "stallBeforeHeaders", forMs: 40 }, false],
  ] as const)("stops the engine when something else answers %s", async (_name, fault: Fault, whole) => {
    await fixture[Symbol.asyncDispose]();
    fixture = await pdFixture({ engine: { latency: { interTokenMs: 5 } } });
    fixture.decode.injectFault({ match: { phase: "decode" }, fault });
    const server = express();
    let elsewhere: ServerResponse | undefined;
    server.use((_request, response, next) => {
      elsewhere = response;
      next();
    });
    server.use(fixture.app.handler);
    await using open = await serveListener(server);
    const answer = open.ask(chatPath, chat({ stream: true, min_tokens: 400, max_tokens: 400 }));
    const entry = () => modelRequests(fixture.decode)[0];
    await until(() => entry() !== undefined);
    elsewhere!.writeHead(503).write("late");
    if (whole) elsewhere!.end();
    await until(() => entry()!.abortedAt !== undefined);
    await until(() => fixture.app.status().inFlight === 0);
    elsewhere!.end();
    const response = await answer;
    expect([response.status, await response.text()]).toEqual([503, "late"]);
    expect(entry()!.tokens).toBeLessThan(400);
  });

  it("uses the raw body when a parser kept it", async () => {
    const server = express();
    const keepRaw = (request: object, _response: unknown, raw: Buffer): void => {
      Object.assign(request, { rawBody: raw });
    };
    server.use(express.json({ verify: keepRaw }), fixture.app.handler);
    await using open = await serveListener(server);
    await (
      await open.ask(chatPath, post('{"messages":[{"role":"user","content":"hi"}],"seed":9007199254740993}'))
    ).text();
    expect(modelRequests(fixture.decode)[0]!.bodyText).toContain('"seed":9007199254740993');
  });

  it("says so when a middleware swallowed the body", async () => {
    const server = express();
    server.use((request, _response, next) => {
      request.resume().on("end", () => next());
    }, fixture.app.handler);
    await using open = await serveListener(server);
    const response = await open.ask(chatPath, chat());
    expect([response.status, (await errorIn(response))["code"]]).toEqual([500, "body_already_consumed"]);
  });

  it("flushes after each write when a middleware buffers", async () => {
    let flushes = 0;
    const server = express();
    server.use((_request, response, next) => {
      Object.assign(response, { flush: () => (flushes += 1) });
      next();
    }, fixture.app.handler);
    await using open = await serveListener(server);
    await (await open.ask(chatPath, chat({ stream: true, max_tokens: 4 }))).text();
    expect(flushes).toBeGreaterThan(0);
  });

  it("lets go of a request whose client leaves while sending it", async () => {
    await using open = await doors.find(({ name }) => name === "node:http")!.open(fixture.app);
    const sending = httpRequest({
      port: open.port,
      path: chatPath,
      method: "POST",
      headers: { "content-type": "application/json", "content-length": "1000" },
    });
    sending.on("error", () => undefined);
    sending.write('{"model":');
    await until(() => fixture.app.status().inFlight > 0);
    sending.destroy();
    await until(() => fixture.app.status().inFlight === 0);
    expect(modelRequests(fixture.prefill)).toEqual([]);
  });

  it("serves several requests over one connection after an error", async () => {
    await using open = await doors.find(({ name }) => name === "node:http")!.open(fixture.app);
    for (const model of ["other", "mock-model", "other"]) {
      const response = await open.ask(chatPath, chat({ model, max_tokens: 2 }));
      expect(response.status).toBe(model === "other" ? 404 : 200);
      await response.text();
    }
  });
});
