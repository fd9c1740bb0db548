import { afterEach, describe, expect, it } from "vitest";

import { systemClock } from "../internal/clock.ts";
import { MockVLLMEngine, mockAnswer, type MockVLLMEngineOptions } from "../testing/index.ts";
import { OpenAITarget, type TargetAnswer } from "./openai-target.ts";

const engines: MockVLLMEngine[] = [];
const messages = [{ role: "user", content: "Which way?" }] as const;

afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.stop()));
});

async function ask(
  options: MockVLLMEngineOptions,
  more: { readonly apiKey?: string; readonly signal?: AbortSignal; readonly timeoutMs?: number } = {},
): Promise<TargetAnswer & { readonly pieces: number; readonly body: unknown }> {
  const engine = new MockVLLMEngine(options);
  engines.push(engine);
  await engine.start();
  const { apiKey, signal = new AbortController().signal, timeoutMs = 5_000 } = more;
  const target = new OpenAITarget({
    url: engine.url,
    model: "mock-model",
    apiKey,
    timeoutMs,
    ignoreEos: true,
    clock: systemClock,
  });
  let pieces = 0;
  const answer = await target.send({ messages, outputTokens: 12 }, () => (pieces += 1), signal);
  await target.close();
  return { ...answer, pieces, body: engine.requests[0]?.body };
}

describe("an OpenAI endpoint", () => {
  it("is asked for a stream, and its tokens are counted", async () => {
    const answer = await ask({});
    expect(answer).toMatchObject({ error: undefined, outputTokens: 12, pieces: 12 });
    expect(answer.promptTokens).toBeGreaterThan(0);
    const expected = mockAnswer({ messages }, 12);
    expect(answer.text).toBe(expected);
    expect(answer.body).toMatchObject({ max_tokens: 12, ignore_eos: true, stream: true });
  });

  it("is read the same in pieces of any size", async () => {
    const whole = await ask({});
    const split = await ask({ faults: [{ fault: { kind: "splitBytes", size: 1 } }] });
    expect([split.text, split.pieces]).toEqual([whole.text, whole.pieces]);
  });

  it.each([
    ["status 500", { faults: [{ fault: { kind: "status", status: 500 } }] }],
    ["incomplete stream", { faults: [{ fault: { kind: "truncated", afterTokens: 2 } }] }],
    ["error in the stream", { faults: [{ fault: { kind: "sseError", afterTokens: 2 } }] }],
    ["malformed event", { faults: [{ fault: { kind: "malformedSse", afterTokens: 2 } }] }],
    ["engine_connection_error", { faults: [{ fault: { kind: "resetAtByte", byte: 0 } }] }],
    ["status 401", { apiKey: "key" }],
  ] satisfies readonly (readonly [string, MockVLLMEngineOptions])[])(
    "%s is an error, and never success",
    async (error, options) => {
      expect((await ask(options)).error).toBe(error);
    },
  );

  it("is given up when its time is over, or the run is", async () => {
    const stalled: MockVLLMEngineOptions = { faults: [{ fault: { kind: "stallBeforeHeaders" } }] };
    expect((await ask(stalled, { timeoutMs: 50 })).error).toBe("total_timeout");
    const stopped = await ask(stalled, { signal: AbortSignal.abort() });
    expect(stopped.error).toMatch(/cancelled|closed/);
  });
});
