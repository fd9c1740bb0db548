import { spawn } from "node:child_process";
import { Agent } from "node:http";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { FakeClock, MockVLLMEngine, mockAnswer } from "../src/testing/index.ts";
import { ask, contentOf, handleOf, send } from "./mock-engine-client.ts";

const chat = "/v1/chat/completions";

let engine: MockVLLMEngine;
let clock: FakeClock;

beforeEach(async () => {
  clock = new FakeClock();
  engine = new MockVLLMEngine({ clock });
  await engine.start();
});

afterEach(async () => {
  await engine.stop();
  engine.ledger.assertBalanced();
  expect([engine.openResponses, engine.openSockets, clock.pendingTimers]).toEqual([0, 0, 0]);
});

describe("life of a server", () => {
  it("keeps a journal", async () => {
    await send(`${engine.url}${chat}?a=b`, { body: '{"messages": [ ]}', headers: { "x-custom": "1" } })
      .answer;
    expect(engine.requests).toHaveLength(1);
    expect(engine.requests[0]).toMatchObject({
      method: "POST",
      path: chat,
      query: "a=b",
      bodyText: '{"messages": [ ]}',
      body: { messages: [] },
      phase: "aggregated",
      status: 200,
      arrivedAt: 0,
      finishedAt: 0,
      abortedAt: undefined,
    });
    expect(engine.requests[0]?.headers["x-custom"]).toBe("1");
    engine.clearRequests();
    expect(engine.requests).toEqual([]);
  });

  it("echoes request ids when told to", async () => {
    const echo = new MockVLLMEngine({ requestIdHeaders: true });
    await echo.start();
    const answer = await send(`${echo.url}/health`, { headers: { "x-request-id": "mine" } }).answer;
    expect(answer.headers["x-request-id"]).toBe("mine");
    expect((await send(`${echo.url}/health`).answer).headers["x-request-id"]).toMatch(/^[0-9a-f]{32}$/);
    await echo.stop();
    expect((await send(`${engine.url}/health`).answer).headers["x-request-id"]).toBeUndefined();
  });

  it("refuses connections until ready", async () => {
    const late = new MockVLLMEngine({ clock, readyDelayMs: 1000 });
    const started = late.start();
    await clock.waitForTimers(1);
    await expect(send(`${late.url}/health`).answer).rejects.toMatchObject({ code: "ECONNREFUSED" });
    clock.advance(1000);
    await started;
    expect((await send(`${late.url}/health`).answer).status).toBe(200);
    await late.stop();
    const abandoned = late.start();
    await clock.waitForTimers(1);
    await late.stop();
    await abandoned;
    expect(late.listening).toBe(false);
  });

  it("closes connections that are idle", async () => {
    const brief = new MockVLLMEngine({ keepAliveTimeoutMs: 20 });
    await brief.start();
    const agent = new Agent({ keepAlive: true });
    const closed = new Promise<void>((resolve) => {
      agent.on("free", (socket: { once(event: "close", listener: () => void): void }) =>
        socket.once("close", resolve),
      );
    });
    await send(`${brief.url}/health`, { agent }).answer;
    await closed;
    await brief.stop();
  });

  it("can be stopped twice, restarted, and disposed of", async () => {
    const { port } = engine;
    await engine.stop();
    await engine.stop();
    await engine.start();
    expect(engine.port).toBe(port);
    expect((await send(`${engine.url}/health`).answer).status).toBe(200);
    await engine[Symbol.asyncDispose]();
    expect(engine.listening).toBe(false);
  });

  it("reports a port that is taken", async () => {
    const second = new MockVLLMEngine({ port: engine.port });
    await expect(second.start()).rejects.toMatchObject({ code: "EADDRINUSE" });
    expect(second.listening).toBe(false);
    await engine.stop();
    await second.start();
    expect((await send(`${second.url}/health`).answer).status).toBe(200);
    await second.stop();
  });

  it.each([{ blockSize: 0 }, { kvLeaseMs: -1 }, { latency: { jitter: 2 } }, { tokensPerFrame: Number.NaN }])(
    "refuses options out of range: %j",
    (options) => {
      expect(() => new MockVLLMEngine(options)).toThrow(RangeError);
    },
  );

  it("serves a thousand streams at a time", async () => {
    const busy = new MockVLLMEngine({ clock, latency: { interTokenMs: 1 } });
    await busy.start();
    const body = { messages: ask("all at once"), max_tokens: 3, stream: true };
    const agent = new Agent({ keepAlive: false });
    const pending = Array.from({ length: 1000 }, () => send(busy.url + chat, { body, agent }));
    await busy.received(1000);
    expect(busy.openResponses).toBe(1000);
    for (let step = 0; step < 3; step++) clock.advance(1);
    const answers = await Promise.all(pending.map(async ({ answer }) => contentOf((await answer).text)));
    expect(new Set(answers)).toEqual(new Set([mockAnswer(body, 3)]));
    await busy.idle();
    busy.ledger.assertBalanced();
    await busy.stop();
  });
});

it("hands KV over between processes", async () => {
  const script = new URL("mock-engine-process.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, ["--import", "tsx", script], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const url = await new Promise<string>((resolve) =>
    child.stdout.once("data", (line) => resolve(String(line).trim())),
  );
  const messages = ask("from afar");
  const body = { messages, max_tokens: 1, kv_transfer_params: { do_remote_decode: true } };
  const handle = handleOf(await send(url + chat, { body }).answer);
  const decodeBody = `{"messages":${JSON.stringify(messages)},"stream":true,"kv_transfer_params":${handle}}`;
  const answer = await send(engine.url + chat, { body: decodeBody }).answer;
  expect(contentOf(answer.text)).toBe(mockAnswer({ messages }));
  expect((await send(`${url}/metrics`).answer).text).toContain(
    'vllm:kv_cache_usage_perc{engine="0",model_name="mock-model"} 0.0',
  );
  expect((await send(engine.url + chat, { body: decodeBody }).answer).text).toContain('"code": 500');
  child.stdin.end();
  expect(await exited).toBe(0);
});
