import { Agent } from "node:http";
import { gunzipSync } from "node:zlib";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { FakeClock, MockVLLMEngine, mockAnswer, type Fault } from "../src/testing/index.ts";
import { ask, contentOf, handleOf, send, type PendingAnswer, type RawAnswer } from "./mock-engine-client.ts";

const path = "/v1/chat/completions";
const messages = ask("What can go wrong?");
const roleThenDone = /^data: [^\n]*"role":"assistant","content":""[^\n]*\n\ndata: \[DONE\]\n\n$/;

describe("faults of MockVLLMEngine", () => {
  let clock: FakeClock;
  let engine: MockVLLMEngine;

  beforeEach(async () => {
    clock = new FakeClock();
    engine = new MockVLLMEngine({ clock, seed: 3 });
    await engine.start();
  });

  afterEach(async () => {
    await engine.stop();
    engine.ledger.assertBalanced();
    expect([engine.openResponses, engine.openSockets, clock.pendingTimers]).toEqual([0, 0, 0]);
  });

  const begin = (fault: Fault, fields: object = {}): PendingAnswer => {
    engine.clearFaults();
    engine.injectFault({ fault });
    return send(engine.url + path, { body: { messages, ...fields } });
  };
  const strike = async (fault: Fault, fields: object = {}): Promise<RawAnswer> => begin(fault, fields).answer;
  const stream = { stream: true };
  const prefill = { max_tokens: 1, kv_transfer_params: { do_remote_decode: true } };

  it("resetAtByte 0 resets before any header", async () => {
    await expect(strike({ kind: "resetAtByte", byte: 0 })).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(engine.requests[0]).toMatchObject({
      status: undefined,
      abortedAt: undefined,
      fault: "resetAtByte",
    });
  });

  it.each([false, true])("resetAtByte in the body, streamed: %s", async (streamed) => {
    const pending = begin({ kind: "resetAtByte", byte: 40 }, { stream: streamed });
    await expect(pending.answer).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(engine.requests[0]).toMatchObject({ status: 200, bytes: 40 });
  });

  it("stallBeforeHeaders for a while, and for ever while /health lies", async () => {
    const late = begin({ kind: "stallBeforeHeaders", forMs: 500 });
    await engine.received(1);
    expect(engine.requests[0]?.status).toBeUndefined();
    clock.advance(500);
    expect((await late.answer).status).toBe(200);
    const never = begin({ kind: "stallBeforeHeaders" });
    await engine.received(2);
    expect((await send(`${engine.url}/health`).answer).status).toBe(200);
    never.leave();
    await engine.idle();
  });

  it("stallAfterTokens", async () => {
    const pending = begin({ kind: "stallAfterTokens", tokens: 3, forMs: 100 }, stream);
    const third = mockAnswer({ messages }, 3);
    expect(contentOf(await pending.until(`"content":" ${third.split(" ")[2]}"`))).toBe(third);
    expect(engine.requests[0]?.tokens).toBe(3);
    clock.advance(100);
    expect(contentOf((await pending.answer).text)).toBe(mockAnswer({ messages }));
    const whole = begin({ kind: "stallAfterTokens", tokens: 3, forMs: 100 });
    await engine.received(2);
    clock.advance(100);
    expect((await whole.answer).text).toContain(JSON.stringify(mockAnswer({ messages })));
  });

  it("slow", async () => {
    const pending = begin(
      { kind: "slow", timeToFirstTokenMs: 50, interTokenMs: 20 },
      { ...stream, max_tokens: 2 },
    );
    await engine.received(1);
    clock.advance(50);
    expect(engine.requests[0]?.tokens).toBe(1);
    clock.advance(20);
    expect(contentOf((await pending.answer).text)).toBe(mockAnswer({ messages }, 2));
  });

  it("status, with vLLM's body, another value, a text, and Retry-After", async () => {
    const plain = await strike({ kind: "status", status: 503, retryAfterS: 7 });
    expect([plain.status, plain.headers["retry-after"]]).toEqual([503, "7"]);
    expect(plain.text).toBe(
      '{"error":{"message":"Injected status 503","type":"ServiceUnavailableError","param":null,"code":503}}',
    );
    const scaling = { error: "The model is currently scaling. Please try again later." };
    expect((await strike({ kind: "status", status: 503, body: scaling })).text).toBe(JSON.stringify(scaling));
    const html = await strike({
      kind: "status",
      status: 429,
      body: "<h1>slow down</h1>",
      headers: { "x-a": "b" },
    });
    expect([html.status, html.text, html.headers["x-a"]]).toEqual([429, "<h1>slow down</h1>", "b"]);
    expect(engine.ledger.blocksInUse).toBe(0);
  });

  it("noKv: null, missing, empty", async () => {
    expect(handleOf(await strike({ kind: "noKv" }, prefill))).toBe("null");
    expect((await strike({ kind: "noKv", form: "missing" }, prefill)).text).not.toContain(
      "kv_transfer_params",
    );
    expect(handleOf(await strike({ kind: "noKv", form: "empty" }, prefill))).toBe("{}");
    expect(engine.ledger).toMatchObject({ issued: 0, blocksInUse: 0 });
  });

  it.each([
    "do_remote_prefill",
    "remote_block_ids",
    "remote_engine_id",
    "remote_request_id",
    "remote_host",
    "remote_port",
    "tp_size",
    "remote_num_tokens",
  ])("wrongKv: %s deleted or replaced", async (key) => {
    const without = JSON.parse(handleOf(await strike({ kind: "wrongKv", remove: [key] }, prefill))) as object;
    expect(without).not.toHaveProperty(key);
    const wrong = { kind: "wrongKv", replace: { [key]: null } } as const;
    const replaced = JSON.parse(handleOf(await strike(wrong, prefill))) as Record<string, unknown>;
    expect(replaced[key]).toBeNull();
    await engine.crash();
    expect(engine.ledger.lost).toBe(2);
  });

  it("expiredKv", async () => {
    expect(handleOf(await strike({ kind: "expiredKv" }, prefill))).toContain('"do_remote_prefill":true');
    expect(engine.ledger).toMatchObject({ issued: 1, expired: 1, blocksInUse: 0 });
  });

  it("malformedSse: a broken frame, or bytes of one's own", async () => {
    const broken = await strike({ kind: "malformedSse", afterTokens: 2 }, stream);
    expect(broken.text).toMatch(/"content":" [^\n]*\n\ndata: \{"id":"broken"[^\n]*"bro\n\ndata: /);
    expect(broken.text.endsWith("data: [DONE]\n\n")).toBe(true);
    const bytes = new Uint8Array([0xff, 0xfe, 0x0a, 0x0a]);
    const invalid = await strike({ kind: "malformedSse", bytes }, stream);
    expect(invalid.body.subarray(0, 4)).toEqual(Buffer.from(bytes));
    const json = await strike({ kind: "malformedSse" });
    expect(() => JSON.parse(json.text) as unknown).toThrow(SyntaxError);
  });

  it("splitBytes cuts characters in pieces", async () => {
    const question = Array.from({ length: 50 }, (_, index) => ask(`split this ${index}`)).find((candidate) =>
      /[^\x20-\x7e]/.test(mockAnswer({ messages: candidate })),
    );
    const fields = { ...stream, messages: question };
    const whole = await send(engine.url + path, { body: { messages: fields.messages, stream: true } }).answer;
    expect(whole.text).toMatch(/[^\x20-\x7e\n]/);
    const split = await strike({ kind: "splitBytes" }, fields);
    expect(contentOf(split.text)).toBe(contentOf(whole.text));
    expect(split.pieces.length).toBeGreaterThan(split.body.length / 2);
    expect(split.pieces.some((piece) => piece.length === 1 && (piece[0] ?? 0) >= 0x80)).toBe(true);
  });

  it("emptyBody", async () => {
    const answer = await strike({ kind: "emptyBody" });
    expect([answer.status, answer.text]).toEqual([200, ""]);
  });

  it("swallowedError: role frame and [DONE]; completions [DONE] only; a 500 when not streamed", async () => {
    expect((await strike({ kind: "swallowedError" }, stream)).text).toMatch(roleThenDone);
    const body = { prompt: "x", stream: true };
    expect((await send(`${engine.url}/v1/completions`, { body }).answer).text).toBe("data: [DONE]\n\n");
    expect((await strike({ kind: "swallowedError" })).status).toBe(500);
  });

  it("sseError, after tokens or before", async () => {
    const fault = {
      kind: "sseError",
      afterTokens: 1,
      message: "très bad",
      status: 400,
      type: "BadRequestError",
    } as const;
    const answer = await strike(fault, stream);
    expect(contentOf(answer.text)).toBe(mockAnswer({ messages }, 1));
    expect(answer.text).toContain(
      'data: {"error": {"message": "tr\\u00e8s bad", "type": "BadRequestError", "param": null, "code": 400}}\n\ndata: [DONE]\n\n',
    );
    expect((await strike(fault)).status).toBe(400);
  });

  it("truncated: without anything, with the finish reason, and in the middle of JSON", async () => {
    const cut = await strike({ kind: "truncated", afterTokens: 2 }, stream);
    expect(contentOf(cut.text)).toBe(mockAnswer({ messages }, 2));
    expect(cut.text).not.toMatch(/"finish_reason":"|DONE/);
    const unfinished = await strike({ kind: "truncated" }, stream);
    expect(contentOf(unfinished.text)).toBe(mockAnswer({ messages }));
    expect(unfinished.text).not.toMatch(/"finish_reason":"|DONE/);
    const finished = await strike({ kind: "truncated", keepFinish: true }, stream);
    expect(finished.text).toContain('"finish_reason":"stop"');
    expect(finished.text).not.toContain("DONE");
    await expect(strike({ kind: "truncated" })).rejects.toMatchObject({ code: "ECONNRESET" });
  });

  it("engineDeath answers everything in flight with an error, then refuses connections", async () => {
    engine.injectFault({ match: { nth: 1 }, fault: { kind: "slow", timeToFirstTokenMs: 1000 } });
    const bystander = send(engine.url + path, { body: { messages } });
    await engine.received(1);
    const dying = await strike({ kind: "engineDeath", afterTokens: 1 }, stream);
    expect(dying.text).toContain(
      '{"error": {"message": "EngineCore encountered an issue. See stack trace (above)',
    );
    expect(dying.text.endsWith("data: [DONE]\n\n")).toBe(true);
    expect((await bystander.answer).status).toBe(500);
    await engine.idle();
    await expect(send(`${engine.url}/health`).answer).rejects.toThrow(/ECONNREFUSED|ECONNRESET/);
    await engine.restart();
    engine.clearFaults();
    expect((await send(engine.url + path, { body: { messages } }).answer).status).toBe(200);
  });

  it("crash resets every connection", async () => {
    await expect(strike({ kind: "crash", afterTokens: 1 }, stream)).rejects.toMatchObject({
      code: "ECONNRESET",
    });
    await expect(send(`${engine.url}/health`).answer).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("errorIn200", async () => {
    const answer = await strike({ kind: "errorIn200" });
    expect(answer.status).toBe(200);
    expect(answer.text).toBe(
      '{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}',
    );
    expect((await strike({ kind: "errorIn200", body: { error: "x" } })).text).toBe('{"error":"x"}');
  });

  it("contentType and wrongFraming", async () => {
    const html = await strike({ kind: "contentType", value: "text/html" }, stream);
    expect(html.headers["content-type"]).toBe("text/html");
    const json = await strike({ kind: "wrongFraming" }, stream);
    expect(json.headers["content-type"]).toBe("application/json");
    expect((JSON.parse(json.text) as { object: string }).object).toBe("chat.completion");
    const sse = await strike({ kind: "wrongFraming" });
    expect(sse.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
  });

  it("redirect", async () => {
    const answer = await strike({ kind: "redirect", location: "http://127.0.0.1:1/" });
    expect([answer.status, answer.headers["location"]]).toEqual([307, "http://127.0.0.1:1/"]);
  });

  it("halfOpen neither answers nor closes", async () => {
    const pending = begin({ kind: "halfOpen" });
    await engine.received(1);
    expect([engine.openSockets, engine.openResponses]).toEqual([1, 1]);
    pending.leave();
    expect((await send(`${engine.url}/health`).answer).status).toBe(200);
    expect(engine.openResponses).toBe(1);
  });

  it.each([false, true])("gzip, streamed: %s", async (streamed) => {
    const answer = await strike({ kind: "gzip" }, { stream: streamed });
    expect(answer.headers["content-encoding"]).toBe("gzip");
    expect(gunzipSync(answer.body).toString()).toContain(
      streamed ? "data: [DONE]" : mockAnswer({ messages }),
    );
  });

  it.each([false, true])("hugeAnswer, streamed: %s", async (streamed) => {
    const answer = await strike({ kind: "hugeAnswer", bytes: 3_000_000 }, { stream: streamed });
    expect(answer.body.length).toBeGreaterThan(3_000_000);
    expect(engine.requests[0]?.bytes).toBe(answer.body.length);
    if (streamed) expect(answer.text.endsWith("data: [DONE]\n\n")).toBe(true);
    else expect(JSON.parse(answer.text)).toHaveProperty("choices");
  });

  it("pings", async () => {
    const pending = begin({ kind: "pings", everyMs: 1000 }, stream);
    expect(await pending.until(": ping\n\n")).toBe(": ping\n\n");
    clock.advance(2000);
    expect(await pending.until(": ping\n\n: ping\n\n: ping\n\n")).not.toContain("data:");
    pending.leave();
    await engine.idle();
  });

  it("closeOnReuse answers the first request of a connection only", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    engine.injectFault({ fault: { kind: "closeOnReuse" } });
    const first = await send(engine.url + path, { body: { messages }, agent }).answer;
    expect(first.status).toBe(200);
    await expect(send(engine.url + path, { body: { messages }, agent }).answer).rejects.toMatchObject({
      code: "ECONNRESET",
    });
    expect(engine.requests.map((entry) => entry.connection)).toEqual([1, 1]);
    agent.destroy();
  });

  it("strikes other routes by path", async () => {
    engine.injectFault({ match: { path: "/health" }, fault: { kind: "status", status: 503 }, times: 1 });
    expect((await send(`${engine.url}/health`).answer).status).toBe(503);
    expect((await send(`${engine.url}/health`).answer).status).toBe(200);
  });
});
