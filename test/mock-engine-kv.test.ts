import { afterEach, describe, expect, it } from "vitest";

import { FakeClock, MockVLLMEngine, mockAnswer, type MockVLLMEngineOptions } from "../src/testing/index.ts";
import { ask, contentOf, decode, handleOf, prefill, send } from "./mock-engine-client.ts";

const path = "/v1/chat/completions";
const messages = ask("What flows to the sea?");
const engines: MockVLLMEngine[] = [];

async function startEngine(options: MockVLLMEngineOptions): Promise<MockVLLMEngine> {
  const engine = new MockVLLMEngine({ seed: engines.length + 1, ...options });
  engines.push(engine);
  await engine.start();
  return engine;
}

afterEach(async () => {
  for (const engine of engines.splice(0)) {
    await engine.stop();
    expect(engine.ledger.blocksInUse).toBe(0);
    engine.ledger.assertBalanced();
  }
});

describe("a handoff that goes well", () => {
  it("pins on prefill, fetches over the side channel, frees, and counts", async () => {
    const prefiller = await startEngine({ role: "prefill", blockSize: 4, engineId: "engine-p" });
    const decoder = await startEngine({ role: "decode", promptTokensDetails: true });
    const handle = handleOf(await prefill(prefiller, messages));
    const parsed = JSON.parse(handle) as Record<string, unknown>;
    expect(Object.keys(parsed)).toEqual([
      "do_remote_prefill",
      "do_remote_decode",
      "remote_block_ids",
      "remote_engine_id",
      "remote_request_id",
      "remote_host",
      "remote_port",
      "tp_size",
      "remote_num_tokens",
      "remote_blocks_expiry_time",
      "transfer_mode",
    ]);
    expect(parsed).toMatchObject({
      do_remote_prefill: true,
      remote_engine_id: "engine-p",
      remote_host: "127.0.0.1",
    });
    expect(parsed["remote_request_id"]).toMatch(/^chatcmpl-[0-9a-f]{32}-[0-9a-f]{8}$/);
    const pinned = prefiller.ledger.pinned[0];
    expect(parsed["remote_block_ids"]).toEqual([pinned?.blockIds]);
    expect(pinned?.blockIds).toHaveLength(Math.ceil((parsed["remote_num_tokens"] as number) / 4));
    expect(prefiller.ledger.blocksInUse).toBe(pinned?.blockIds.length);

    const answer = await decode(decoder, messages, handle, {
      stream: true,
      stream_options: { include_usage: true },
    }).answer;
    expect(contentOf(answer.text)).toBe(mockAnswer({ messages }));
    const tokens = parsed["remote_num_tokens"] as number;
    expect(answer.text).toContain(`"prompt_tokens_details":{"cached_tokens":${tokens - 1}}`);
    expect(prefiller.ledger).toMatchObject({ issued: 1, consumed: 1, rejected: [] });
    prefiller.ledger.assertBalanced();
    expect(prefiller.requests[0]?.phase).toBe("prefill");
    expect(decoder.requests[0]?.phase).toBe("decode");
  });

  it("wants a 64-bit integer back digit for digit", async () => {
    const prefiller = await startEngine({ bigIntHandles: true });
    const decoder = await startEngine({});
    const handle = handleOf(await prefill(prefiller, messages));
    expect(handle).toContain('"remote_lease_token":9223372036854775807');
    expect((await decode(decoder, messages, JSON.stringify(JSON.parse(handle))).answer).status).toBe(500);
    expect(prefiller.ledger.rejected[0]?.reason).toBe("wrong_lease_token");
    expect((await decode(decoder, messages, handle).answer).status).toBe(200);
  });

  it.each([
    [{ flatBlockIds: true }, /"remote_block_ids":\[1\]/],
    [{ omitRequestId: true }, /^(?!.*remote_request_id)/],
    [{ newerKeys: true }, /"dcp_size":1,"pp_size":1/],
  ])("speaks other versions: %j", async (handleFormat, pattern) => {
    const prefiller = await startEngine({ handleFormat });
    const decoder = await startEngine({ handleFormat });
    const handle = handleOf(await prefill(prefiller, messages));
    expect(handle).toMatch(pattern);
    expect((await decode(decoder, messages, handle).answer).status).toBe(200);
    expect(prefiller.ledger.consumed).toBe(1);
  });

  it("keeps the lease while decode queues, and not longer", async () => {
    const clock = new FakeClock();
    const prefiller = await startEngine({ clock, kvLeaseMs: 30_000 });
    const decoder = await startEngine({ clock, maxNumSeqs: 1, latency: { timeToFirstTokenMs: 25_000 } });
    const blocker = send(decoder.url + path, { body: { messages: ask("first"), max_tokens: 1 } });
    await decoder.received(1);
    const handle = handleOf(await prefill(prefiller, messages));
    const queued = decode(decoder, messages, handle, { max_tokens: 1 });
    await decoder.received(2);
    expect(decoder.load).toEqual({ running: 1, waiting: 1 });
    clock.advance(25_000);
    await blocker.answer;
    // Now it is fetching, then computing.
    await prefiller.ledger.drained();
    expect(prefiller.ledger).toMatchObject({ consumed: 1, expired: 0 });
    await clock.waitForTimers(1);
    clock.advance(25_000);
    expect((await queued.answer).status).toBe(200);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe("when prefill gives no handle", () => {
  it.each([
    ["nobody asked", {}, { kv_transfer_params: undefined }],
    ["there is no connector", { kvConnector: null }, {}],
    ["the first token ends the answer", { firstTokenStop: "sea" }, {}],
  ] as const)("because %s", async (_why, options, fields) => {
    const engine = await startEngine(options);
    const answer = await prefill(engine, messages, fields);
    expect(answer.status).toBe(200);
    expect(handleOf(answer)).toBe("null");
    expect(engine.ledger.issued).toBe(0);
  });

  it("because it streams: frames have no place for one", async () => {
    const engine = await startEngine({});
    const answer = await prefill(engine, messages, { stream: true });
    expect(answer.text).not.toContain("kv_transfer_params");
    expect(answer.text).toContain("data: [DONE]\n\n");
    expect(engine.ledger.blocksInUse).toBe(0);
  });

  it("says stop for a first token that ends the answer, and may keep the handle", async () => {
    const engine = await startEngine({ firstTokenStop: "sea", firstTokenStopHandle: "kept" });
    const answer = await prefill(engine, messages);
    expect(answer.text).toContain('"finish_reason":"stop"');
    expect(handleOf(answer)).toContain('"do_remote_prefill":true');
  });
});

describe("a handle that is no good", () => {
  const spoiled: readonly (readonly [string, (handle: Record<string, unknown>) => void, string])[] = [
    ["wrong engine", (handle) => (handle["remote_engine_id"] = "other"), "wrong_engine"],
    ["unknown request", (handle) => (handle["remote_request_id"] = "other"), "unknown"],
    ["wrong blocks", (handle) => (handle["remote_block_ids"] = [[999]]), "wrong_blocks"],
    ["wrong tensor parallel size", (handle) => (handle["tp_size"] = 8), "wrong_shape"],
    ["wrong token count", (handle) => (handle["remote_num_tokens"] = 1), "wrong_shape"],
  ];

  it.each(spoiled)("%s", async (_name, spoil, reason) => {
    const prefiller = await startEngine({});
    const decoder = await startEngine({});
    const handle = JSON.parse(handleOf(await prefill(prefiller, messages))) as Record<string, unknown>;
    spoil(handle);
    const answer = await decode(decoder, messages, JSON.stringify(handle)).answer;
    expect(answer.status).toBe(500);
    expect(answer.text).toBe(
      '{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}',
    );
    expect(prefiller.ledger.rejected.map((rejected) => rejected.reason)).toEqual([reason]);
  });

  it("is good once", async () => {
    const prefiller = await startEngine({});
    const decoder = await startEngine({});
    const handle = handleOf(await prefill(prefiller, messages));
    expect((await decode(decoder, messages, handle).answer).status).toBe(200);
    const again = await decode(decoder, messages, handle, { stream: true }).answer;
    expect(again.status).toBe(200);
    expect(again.text).toBe(
      'data: {"error": {"message": "Internal server error", "type": "InternalServerError", "param": null, "code": 500}}\n\ndata: [DONE]\n\n',
    );
    expect(prefiller.ledger.rejected[0]?.reason).toBe("consumed");
  });

  it("is good for its lease", async () => {
    const clock = new FakeClock();
    const prefiller = await startEngine({ clock, kvLeaseMs: 1000 });
    const decoder = await startEngine({ clock });
    const handle = handleOf(await prefill(prefiller, messages));
    clock.advance(999);
    expect(prefiller.ledger.pinned).toHaveLength(1);
    clock.advance(1);
    expect(prefiller.ledger).toMatchObject({ expired: 1, blocksInUse: 0 });
    expect((await decode(decoder, messages, handle).answer).status).toBe(500);
    expect(prefiller.ledger.rejected[0]?.reason).toBe("expired");
    expect((await send(`${prefiller.url}/metrics`).answer).text).toMatch(
      /nixl_num_kv_expired_reqs_total\{.*\} 1\.0/,
    );
  });

  it.each([
    ["another question", { messages: ask("something else") }],
    ["tools", { tools: [{ type: "function", function: { name: "f" } }] }],
    ["template arguments", { chat_template_kwargs: { enable_thinking: false } }],
    ["another cache salt", { cache_salt: "tenant" }],
  ])("is good for the prompt that was prefilled, not with %s", async (_name, fields) => {
    const prefiller = await startEngine({});
    const decoder = await startEngine({});
    const handle = handleOf(await prefill(prefiller, messages));
    expect((await decode(decoder, messages, handle, fields).answer).status).toBe(500);
    expect(prefiller.ledger.rejected[0]?.reason).toBe("wrong_prompt");
  });

  it.each([
    ["garbage", 200],
    ["recompute", 200],
    ["swallow", 200],
  ] as const)("may end in %s", async (onBadHandle, status) => {
    const prefiller = await startEngine({});
    const decoder = await startEngine({ onBadHandle });
    const handle = handleOf(await prefill(prefiller, messages)).replace(/chatcmpl-[^"]*/, "unknown");
    const answer = await decode(decoder, messages, handle, { stream: true }).answer;
    expect(answer.status).toBe(status);
    const content = contentOf(answer.text);
    if (onBadHandle === "recompute") expect(content).toBe(mockAnswer({ messages }));
    if (onBadHandle === "garbage") expect(content).not.toBe(mockAnswer({ messages }));
    if (onBadHandle === "garbage") expect(content).not.toBe("");
    if (onBadHandle === "swallow")
      expect(answer.text).toMatch(/^data: .*"role":"assistant".*\n\ndata: \[DONE\]\n\n$/);
  });

  it("fails when prefill was restarted or is gone", async () => {
    const prefiller = await startEngine({});
    const decoder = await startEngine({});
    const first = handleOf(await prefill(prefiller, messages));
    const { engineId, port } = prefiller;
    await prefiller.restart();
    expect(prefiller.port).toBe(port);
    expect(prefiller.engineId).not.toBe(engineId);
    expect(prefiller.ledger).toMatchObject({ lost: 1, blocksInUse: 0 });
    expect((await decode(decoder, messages, first).answer).status).toBe(500);
    expect(prefiller.ledger.rejected[0]?.reason).toBe("wrong_engine");
    const second = handleOf(await prefill(prefiller, messages));
    await prefiller.crash();
    expect((await decode(decoder, messages, second).answer).status).toBe(500);
  });

  it("without blocks kills the engine", async () => {
    const decoder = await startEngine({ latency: { timeToFirstTokenMs: 60_000 }, clock: new FakeClock() });
    const bystander = send(decoder.url + path, { body: { messages } });
    await decoder.received(1);
    const answer = await decode(decoder, messages, '{"do_remote_prefill":true,"remote_block_ids":[]}').answer;
    expect(answer.status).toBe(500);
    expect(answer.text).toContain(
      "EngineCore encountered an issue. See stack trace (above) for the root cause.",
    );
    expect((await bystander.answer).status).toBe(500);
    await decoder.idle();
    await expect(send(`${decoder.url}/health`).answer).rejects.toThrow(/ECONNREFUSED|ECONNRESET/);
  });

  it("without blocks kills EngineCore only, when the server is to stay", async () => {
    const decoder = await startEngine({ keepAliveOnEngineDeath: true });
    expect((await decode(decoder, messages, '{"do_remote_prefill":true}').answer).status).toBe(500);
    expect((await send(`${decoder.url}/health`).answer).status).toBe(503);
    expect((await send(decoder.url + path, { body: { messages } }).answer).status).toBe(500);
  });

  it.each(["remote_engine_id", "remote_request_id", "remote_host", "remote_port"])(
    "without %s hangs until the client leaves",
    async (key) => {
      const prefiller = await startEngine({});
      const decoder = await startEngine({});
      const handle = JSON.parse(handleOf(await prefill(prefiller, messages))) as Record<string, unknown>;
      delete handle[key];
      const pending = decode(decoder, messages, JSON.stringify(handle));
      await decoder.received(1);
      expect((await send(`${decoder.url}/metrics`).answer).text).toMatch(/reason="deferred"\} 1\.0/);
      pending.leave();
      await decoder.idle();
      expect(decoder.requests[0]?.abortedAt).toBeTypeOf("number");
      expect(prefiller.ledger.pinned).toHaveLength(1);
    },
  );
});
