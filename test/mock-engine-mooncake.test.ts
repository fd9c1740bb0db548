import { afterEach, beforeEach, expect, it } from "vitest";

import { FakeClock, MockVLLMEngine, mockAnswer } from "../src/testing/index.ts";
import { ask, contentOf, handleOf, send, type PendingAnswer } from "./mock-engine-client.ts";

const path = "/v1/chat/completions";
const messages = ask("Both at once?");

let clock: FakeClock;
let prefiller: MockVLLMEngine;
let decoder: MockVLLMEngine;

beforeEach(async () => {
  clock = new FakeClock();
  const options = { clock, kvConnector: "MooncakeConnector", kvLeaseMs: 1000 } as const;
  prefiller = new MockVLLMEngine({ ...options, engineId: "p", latency: { timeToFirstTokenMs: 10 } });
  decoder = new MockVLLMEngine(options);
  await prefiller.start();
  await decoder.start();
});

afterEach(async () => {
  await prefiller.stop();
  await decoder.stop();
  prefiller.ledger.assertBalanced();
  decoder.ledger.assertBalanced();
  expect(clock.pendingTimers).toBe(0);
});

function prefill(fields: object = {}): PendingAnswer {
  const kv_transfer_params = { do_remote_decode: true, do_remote_prefill: false, transfer_id: "xfer-1" };
  return send(prefiller.url + path, { body: { messages, max_tokens: 1, kv_transfer_params, ...fields } });
}

function decode(params: object = {}, fields: object = {}): PendingAnswer {
  const kv_transfer_params = {
    do_remote_decode: false,
    do_remote_prefill: true,
    remote_bootstrap_addr: prefiller.bootstrapUrl,
    remote_engine_id: "p",
    transfer_id: "xfer-1",
    ...params,
  };
  return send(decoder.url + path, { body: { messages, kv_transfer_params, ...fields } });
}

it("publishes itself on its bootstrap server", async () => {
  const answer = await send(`${prefiller.bootstrapUrl}/query`).answer;
  expect(answer.text).toMatch(
    /^\{"0":\{"engine_id":"p","worker_addr":\{"0":\{"0":"tcp:\/\/127\.0\.0\.1:\d+"\}\}\}\}$/,
  );
  expect((await send(`${prefiller.bootstrapUrl}/other`).answer).status).toBe(404);
});

it("lets decode wait for prefill, whichever comes first", async () => {
  const waiting = decode({}, { stream: true });
  await decoder.received(1);
  const prefilling = prefill();
  await prefiller.received(1);
  clock.advance(10);
  expect(handleOf(await prefilling.answer)).toBe("null");
  expect(contentOf((await waiting.answer).text)).toBe(mockAnswer({ messages }));
  expect(prefiller.ledger).toMatchObject({ issued: 1, consumed: 1 });
});

it("keeps KV for a decode that comes later", async () => {
  const prefilling = prefill();
  await prefiller.received(1);
  clock.advance(10);
  await prefilling.answer;
  expect(prefiller.ledger.pinned.map((kv) => kv.requestId)).toEqual(["xfer-1"]);
  expect((await decode().answer).status).toBe(200);
  expect((await decode().answer).status).toBe(500);
  expect(prefiller.ledger.rejected[0]?.reason).toBe("consumed");
});

it("makes decode wait in vain when prefill's answer ended by itself", async () => {
  await prefiller.stop();
  prefiller = new MockVLLMEngine({
    clock,
    kvConnector: "MooncakeConnector",
    engineId: "p",
    firstTokenStop: "once",
  });
  await prefiller.start();
  expect((await prefill().answer).text).toContain('"finish_reason":"stop"');
  const waiting = decode();
  await decoder.received(1);
  clock.advance(1000);
  expect((await waiting.answer).status).toBe(500);
});

it("fails decode when the engine is another one, or gone", async () => {
  expect((await decode({ remote_engine_id: "before-the-restart" }).answer).status).toBe(500);
  expect((await decode({ remote_bootstrap_addr: "http://127.0.0.1:1" }).answer).status).toBe(500);
  expect((await decode({ remote_bootstrap_addr: "nowhere" }).answer).status).toBe(500);
});

it("forgets a decode whose client left", async () => {
  const waiting = decode();
  await decoder.received(1);
  waiting.leave();
  await decoder.idle();
  expect(decoder.ledger.blocksInUse).toBe(0);
  expect(clock.pendingTimers).toBe(0);
});
