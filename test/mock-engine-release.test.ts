import { afterEach, describe, expect, it } from "vitest";

import { FakeClock, MockVLLMEngine, type MockVLLMEngineOptions } from "../src/testing/index.ts";
import { ask, decode, handleOf, prefill, send } from "./mock-engine-client.ts";

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

describe("blocks are freed early", () => {
  it("when decode refuses the request", async () => {
    const prefiller = await startEngine({});
    const decoder = await startEngine({ maxModelLen: 64 });
    const handle = handleOf(await prefill(prefiller, messages));
    const answer = await decode(decoder, messages, handle, { max_tokens: 60 }).answer;
    expect(answer.status).toBe(400);
    await prefiller.ledger.drained();
    expect(prefiller.ledger).toMatchObject({ released: 1, consumed: 0 });
  });

  it("when the client leaves before decode is scheduled", async () => {
    const clock = new FakeClock();
    const prefiller = await startEngine({ clock });
    const decoder = await startEngine({ clock, maxNumSeqs: 1, latency: { timeToFirstTokenMs: 1000 } });
    const blocker = send(decoder.url + path, { body: { messages } });
    await decoder.received(1);
    const queued = decode(decoder, messages, handleOf(await prefill(prefiller, messages)));
    await decoder.received(2);
    queued.leave();
    await prefiller.ledger.drained();
    expect(prefiller.ledger.released).toBe(1);
    blocker.leave();
    await decoder.idle();
    expect(clock.pendingTimers).toBe(0);
  });

  it("when the client leaves during prefill", async () => {
    const clock = new FakeClock();
    const engine = await startEngine({ clock, latency: { prefillMsPerToken: 10 } });
    const body = { messages, max_tokens: 1, kv_transfer_params: { do_remote_decode: true } };
    const pending = send(engine.url + path, { body });
    await engine.received(1);
    expect(engine.ledger.blocksInUse).toBeGreaterThan(0);
    pending.leave();
    await engine.idle();
    expect(engine.ledger).toMatchObject({ blocksInUse: 0, issued: 0 });
    expect(engine.requests[0]).toMatchObject({ status: undefined, finishedAt: undefined });
    expect((await send(`${engine.url}/metrics`).answer).text).toMatch(/finished_reason="abort".*\} 1\.0/);
  });

  it("when the client leaves in the middle of a stream", async () => {
    const clock = new FakeClock();
    const engine = await startEngine({ clock, latency: { interTokenMs: 10 } });
    const pending = send(engine.url + path, { body: { messages, stream: true } });
    await pending.until('"content":"');
    clock.advance(10);
    pending.leave();
    await engine.idle();
    expect(engine.requests[0]).toMatchObject({ status: 200, tokens: 2 });
    expect(engine.requests[0]?.abortedAt).toBe(10);
    expect(engine.ledger.blocksInUse).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });
});

it("queues requests that find no blocks", async () => {
  const clock = new FakeClock();
  const engine = await startEngine({
    clock,
    blockSize: 16,
    numBlocks: 2,
    latency: { timeToFirstTokenMs: 10 },
  });
  const body = { messages, max_tokens: 4 };
  const first = send(engine.url + path, { body });
  await engine.received(1);
  const second = send(engine.url + path, { body });
  await engine.received(2);
  expect(engine.load).toEqual({ running: 1, waiting: 1 });
  clock.advance(10);
  expect((await first.answer).status).toBe(200);
  expect(engine.load).toEqual({ running: 1, waiting: 0 });
  clock.advance(10);
  expect((await second.answer).status).toBe(200);
});
