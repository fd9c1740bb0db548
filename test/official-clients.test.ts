import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import OpenAI from "openai";
import { afterEach, describe, expect, it } from "vitest";
import { type FaultRule, mockAnswer } from "../src/testing/index.ts";
import { model, type PDCluster, startPDCluster } from "./support/pd-cluster.ts";

let cluster: PDCluster | undefined;

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

async function start(fault?: FaultRule["fault"]): Promise<PDCluster> {
  cluster = await startPDCluster({
    prefills: 1,
    decodes: 1,
    engine: { latency: { interTokenMs: 2 } },
    client: { interTokenTimeoutMs: 300, firstByteTimeoutMs: 300 },
  });
  if (fault !== undefined) cluster.decodes[0]!.injectFault({ fault, match: { phase: "decode" } });
  return cluster;
}

const messages = [{ role: "user" as const, content: "hello there" }];
const expected = mockAnswer({ messages }, 6);

const openai = ({ url }: PDCluster) => new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 0 });
const aiModel = ({ url }: PDCluster) =>
  createOpenAICompatible({ name: "serve-llm", baseURL: `${url}/v1`, includeUsage: true }).chatModel(model);

/** Ways to break a stream once it has begun. */
const breaks: readonly [string, FaultRule["fault"]][] = [
  ["a reset", { kind: "crash", afterTokens: 3 }],
  ["an error event", { kind: "sseError", afterTokens: 3 }],
  ["an early end", { kind: "truncated", afterTokens: 3 }],
  ["a stall", { kind: "stallAfterTokens", tokens: 3 }],
];

describe("the openai client", () => {
  it("gets right answers, streamed and not, and the model list", async () => {
    const client = openai(await start());
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 6 });
    expect(answer.choices[0]!.message.content).toBe(expected);
    expect(answer.usage!.completion_tokens).toBe(6);

    const stream = await client.chat.completions.create({
      model,
      messages,
      max_tokens: 6,
      stream: true,
      stream_options: { include_usage: true },
    });
    let content = "";
    let usage: unknown;
    for await (const chunk of stream) {
      content += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    expect(content).toBe(expected);
    expect(usage).toMatchObject({ completion_tokens: 6 });

    const completion = await client.completions.create({ model, prompt: "once", max_tokens: 4 });
    expect(completion.choices[0]!.text.trim()).toBe(mockAnswer({ prompt: "once" }, 4).trim());
    expect((await client.models.list()).data.map(({ id }) => id)).toEqual([model]);
    expect((await client.models.retrieve(model)).id).toBe(model);
  });

  it("sees typed errors", async () => {
    const client = openai(await start());
    await expect(client.chat.completions.create({ model: "nope", messages })).rejects.toBeInstanceOf(
      OpenAI.NotFoundError,
    );
    await expect(
      client.chat.completions.create({ model, messages, kv_transfer_params: {} } as never),
    ).rejects.toMatchObject({ status: 400, code: "field_not_allowed", param: "kv_transfer_params" });
  });

  it.each(breaks)("reports %s within a stream as an error, not as an end", async (_name, fault) => {
    const client = openai(await start(fault));
    const stream = await client.chat.completions.create({ model, messages, max_tokens: 6, stream: true });
    let finished = false;
    await expect(async () => {
      for await (const chunk of stream)
        finished ||=
          chunk.choices[0]?.finish_reason !== null && chunk.choices[0]?.finish_reason !== undefined;
    }).rejects.toThrow();
    expect(finished).toBe(false);
  });
});

describe("the ai client", () => {
  it("gets right answers, streamed and not", async () => {
    const running = await start();
    const answer = await generateText({ model: aiModel(running), prompt: "hello there", maxOutputTokens: 6 });
    expect(answer.text).toBe(expected);
    const stream = streamText({ model: aiModel(running), prompt: "hello there", maxOutputTokens: 6 });
    expect(await stream.text).toBe(expected);
    expect(await stream.finishReason).toBe("length");
    expect((await stream.usage).outputTokens).toBe(6);
  });

  it.each(breaks)("reports %s within a stream as an error", async (_name, fault) => {
    const running = await start(fault);
    const errors: unknown[] = [];
    const stream = streamText({
      model: aiModel(running),
      prompt: "hello there",
      maxOutputTokens: 6,
      maxRetries: 0,
      onError: ({ error }) => {
        errors.push(error);
      },
    });
    const reasons: string[] = [];
    try {
      for await (const part of stream.fullStream) {
        if (part.type === "error") errors.push(part.error);
        if (part.type === "finish") reasons.push(part.finishReason);
      }
    } catch (error) {
      errors.push(error);
    }
    expect(errors.length).toBeGreaterThan(0);
    expect(reasons.filter((reason) => reason === "stop" || reason === "length")).toEqual([]);
  });
});
