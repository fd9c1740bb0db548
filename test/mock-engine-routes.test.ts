import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { FakeClock, MockVLLMEngine, encodeText, mockAnswer } from "../src/testing/index.ts";
import { ask, contentOf, send, type RawAnswer } from "./mock-engine-client.ts";

const chat = "/v1/chat/completions";
const completions = "/v1/completions";

let engine: MockVLLMEngine;
let clock: FakeClock;

beforeEach(async () => {
  clock = new FakeClock();
  engine = new MockVLLMEngine({
    model: "m",
    clock,
    seed: 5,
    maxModelLen: 100,
    adapters: { "sql-lora": "/loras/sql" },
  });
  await engine.start();
});

afterEach(async () => {
  await engine.stop();
  engine.ledger.assertBalanced();
  expect([engine.openResponses, engine.openSockets, clock.pendingTimers]).toEqual([0, 0, 0]);
});

const get = async (path: string): Promise<RawAnswer> => send(engine.url + path).answer;
const post = async (path: string, body: unknown, headers: Record<string, string> = {}): Promise<RawAnswer> =>
  send(engine.url + path, { method: "POST", body, headers }).answer;
const errorOf = (answer: RawAnswer): { message: string; type: string; param: string | null; code: number } =>
  (
    JSON.parse(answer.text) as {
      error: { message: string; type: string; param: string | null; code: number };
    }
  ).error;

describe("what is refused, in vLLM's words", () => {
  it("unknown model", async () => {
    const answer = await post(chat, { model: "x", messages: ask("hi") });
    expect([answer.status, answer.text]).toEqual([
      404,
      '{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}}',
    ]);
  });

  it("context overflow, streamed or not", async () => {
    const body = { prompt: "x".repeat(4 * 95), max_tokens: 10 };
    for (const stream of [false, true]) {
      const answer = await post(completions, { ...body, stream });
      expect(answer.status).toBe(400);
      expect(errorOf(answer)).toEqual({
        message:
          "This model's maximum context length is 100 tokens. However, you requested 10 output tokens and your prompt contains " +
          "95 input tokens, for a total of 105 tokens. Please reduce the length of the input prompt or the number of requested " +
          "output tokens. (parameter=input_tokens, value=95)",
        type: "BadRequestError",
        param: "input_tokens",
        code: 400,
      });
    }
  });

  const messages = ask("hi");
  it.each([
    [
      "min_tokens beyond max_tokens",
      { max_tokens: 1, min_tokens: 5 },
      "BadRequestError",
      "min_tokens must be less than or equal to max_tokens=1, got 5.",
    ],
    [
      "max_tokens below 1",
      { max_tokens: 0 },
      "BadRequestError",
      "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)",
    ],
    [
      "max_completion_tokens first",
      { max_tokens: 5, max_completion_tokens: -1 },
      "BadRequestError",
      "max_tokens must be at least 1, got -1.",
    ],
    ["n below 1", { n: 0 }, "BadRequestError", "n must be at least 1, got 0."],
    [
      "temperature below 0",
      { temperature: -1 },
      "BadRequestError",
      "temperature must be non-negative, got -1.",
    ],
    ["more than four stop strings", { stop: ["a", "b", "c", "d", "e"] }, "BadRequestError", "stop"],
    [
      "stream_options without stream",
      { stream_options: { include_usage: true } },
      "Bad Request",
      "Stream options can only be defined when `stream=True`.",
    ],
    ["empty tools", { tools: [] }, "Bad Request", "tools"],
    ["tool_choice without tools", { tool_choice: "required" }, "Bad Request", "`tools` must be set"],
    ["empty cache_salt", { cache_salt: "" }, "Bad Request", "cache_salt"],
    ["top_logprobs without logprobs", { top_logprobs: 2 }, "Bad Request", "`logprobs` must be set to true"],
    [
      "prompt_logprobs in a stream",
      { stream: true, prompt_logprobs: 1 },
      "Bad Request",
      "not available when `stream=True`",
    ],
    [
      "text for a number",
      { max_tokens: "many" },
      "Bad Request",
      "'type': 'int_parsing', 'loc': ('body', 'max_tokens')",
    ],
    [
      "a fraction for an integer",
      { n: 1.5 },
      "Bad Request",
      "'type': 'int_from_float', 'loc': ('body', 'n')",
    ],
    ["a list for a flag", { stream: [] }, "Bad Request", "'type': 'bool_type', 'loc': ('body', 'stream')"],
    [
      "a list for a dictionary",
      { kv_transfer_params: [] },
      "Bad Request",
      "'type': 'dict_type', 'loc': ('body', 'kv_transfer_params')",
    ],
    ["a message that is none", { messages: ["hi"] }, "Bad Request", "'loc': ('body', 'messages', 0)"],
  ])("%s", async (_name, fields, type, message) => {
    const answer = await post(chat, { messages, ...fields });
    expect(answer.status).toBe(400);
    expect(errorOf(answer)).toMatchObject({ type, code: 400 });
    expect(errorOf(answer).message).toContain(message);
  });

  it("missing fields, malformed JSON, other content types", async () => {
    const missing = await post(chat, { model: "m" });
    expect(errorOf(missing)).toEqual({
      message:
        "1 validation error(s):\n  {'type': 'missing', 'loc': ('body', 'messages'), 'msg': 'Field required', 'input': {'model': 'm'}}",
      type: "Bad Request",
      param: "body.messages",
      code: 400,
    });
    expect(errorOf(await post(chat, "")).message).toContain("'type': 'missing', 'loc': ('body',)");
    const malformed = await post(chat, '{"messages": [}');
    expect(malformed.status).toBe(400);
    expect(errorOf(malformed).message).toContain(
      "'type': 'json_invalid', 'loc': ('body', 15), 'msg': 'JSON decode error'",
    );
    expect(errorOf(await post(chat, "[]")).message).toContain("Input should be a valid dictionary or object");
    expect(errorOf(await post(completions, { prompt: "" })).message).toContain(
      "Either prompt or prompt_embeds",
    );
    expect(errorOf(await post(completions, { prompt: { a: 1 } })).message).toContain(
      "('body', 'prompt', 'str')",
    );
    const text = await post(chat, '{"messages":[]}', { "content-type": "text/plain" });
    expect(errorOf(text).message).toContain("Only 'application/json' is allowed");
  });

  it("unknown routes and methods", async () => {
    expect([(await get("/nope")).status, (await get("/nope")).text]).toEqual([404, '{"detail":"Not Found"}']);
    const wrongMethod = await get(chat);
    expect([wrongMethod.status, wrongMethod.text]).toEqual([405, '{"detail":"Method Not Allowed"}']);
    expect((await post("/health", {})).status).toBe(405);
  });

  it("a data parallel rank out of range, inside a stream that has begun", async () => {
    const header = { "x-data-parallel-rank": "3" };
    expect((await post(chat, { messages }, header)).status).toBe(400);
    const stream = await post(chat, { messages, stream: true }, header);
    expect(stream.status).toBe(200);
    expect(stream.text).toMatch(
      /^data: \{"error": \{"message": "data_parallel_rank 3 .*"code": 400\}\}\n\ndata: \[DONE\]\n\n$/,
    );
    expect((await post(chat, { messages }, { "x-data-parallel-rank": "zero" })).status).toBe(200);
  });

  it("a request id that is running", async () => {
    engine.injectFault({ match: { nth: 1 }, fault: { kind: "slow", timeToFirstTokenMs: 10 } });
    const header = { "x-request-id": "same" };
    const first = send(engine.url + chat, { body: { messages }, headers: header });
    await engine.received(1);
    const second = await post(chat, { messages }, header);
    expect([second.status, errorOf(second).message]).toEqual([400, "Request id same already running."]);
    clock.advance(10);
    expect((await first.answer).status).toBe(200);
    expect((await post(chat, { messages }, header)).status).toBe(200);
  });

  it("a wrong API key, under /v1 only", async () => {
    const guarded = new MockVLLMEngine({ apiKey: "secret", clock });
    await guarded.start();
    const models = `${guarded.url}/v1/models`;
    for (const headers of [{}, { authorization: "Bearer wrong" }, { authorization: "secret" }]) {
      const answer = await send(models, { headers }).answer;
      expect([answer.status, answer.text]).toEqual([401, '{"error":"Unauthorized"}']);
    }
    expect((await send(models, { headers: { authorization: "bearer secret" } }).answer).status).toBe(200);
    expect((await send(`${guarded.url}/health`).answer).status).toBe(200);
    await guarded.stop();
  });
});

describe("what is accepted as vLLM does", () => {
  it("unknown fields, numbers as text, no model", async () => {
    const answer = await post(chat, { messages: ask("hi"), max_tokens: "1", something_new: { deep: [1] } });
    expect(answer.status).toBe(200);
    expect(answer.text).toContain('"completion_tokens":1');
  });

  it("sixteen tokens of completions that do not say", async () => {
    const answer = JSON.parse((await post(completions, { prompt: "hi", ignore_eos: true })).text) as {
      usage: { completion_tokens: number };
    };
    expect(answer.usage.completion_tokens).toBe(16);
  });

  it("token ids as prompt, min_tokens, ignore_eos", async () => {
    const ids = await post(completions, { prompt: encodeText("hello there"), max_tokens: 3 });
    expect(ids.text).toContain(JSON.stringify(mockAnswer({ prompt: "hello there" }, 3)));
    const long = JSON.parse(
      (await post(completions, { prompt: "hi", min_tokens: 40, max_tokens: 60 })).text,
    ) as {
      usage: { completion_tokens: number };
      choices: { finish_reason: string }[];
    };
    expect([long.usage.completion_tokens, long.choices[0]?.finish_reason]).toEqual([41, "stop"]);
  });
});

describe("other routes", () => {
  it("health, ping, version, load", async () => {
    for (const answer of [await get("/health"), await get("/ping"), await post("/ping", {})]) {
      expect([answer.status, answer.text]).toEqual([200, ""]);
    }
    expect((await get("/version")).text).toBe('{"version":"0.27.1"}');
    engine.injectFault({ fault: { kind: "stallBeforeHeaders", forMs: 1 }, match: { nth: 9 } });
    expect((await get("/load")).text).toBe('{"server_load":0}');
  });

  it("models, with LoRA cards", async () => {
    const list = JSON.parse((await get("/v1/models")).text) as { data: Record<string, unknown>[] };
    expect(
      list.data.map(({ id, root, parent, max_model_len: length }) => [id, root, parent, length]),
    ).toEqual([
      ["m", "m", null, 100],
      ["sql-lora", "/loras/sql", "m", null],
    ]);
    expect(Object.keys(list.data[0] ?? {})).toEqual(
      "id object created owned_by root parent max_model_len permission".split(" "),
    );
  });

  it("loads and unloads adapters", async () => {
    const load = await post("/v1/load_lora_adapter", { lora_name: "a", lora_path: "/p" });
    expect([load.status, load.text]).toEqual([200, "Success: LoRA adapter 'a' added successfully."]);
    expect((await post(chat, { model: "a", messages: ask("hi") })).text).toContain('"model":"a"');
    expect(errorOf(await post("/v1/load_lora_adapter", { lora_name: "a", lora_path: "/p" })).type).toBe(
      "InvalidUserInput",
    );
    expect(
      (await post("/v1/load_lora_adapter", { lora_name: "a", lora_path: "/q", load_inplace: true })).status,
    ).toBe(200);
    expect((await post("/v1/load_lora_adapter", {})).status).toBe(400);
    const unload = await post("/v1/unload_lora_adapter", { lora_name: "a" });
    expect(unload.text).toBe("Success: LoRA adapter 'a' removed successfully.");
    expect((await post("/v1/unload_lora_adapter", { lora_name: "a" })).status).toBe(404);
    expect((await post("/v1/unload_lora_adapter", {})).status).toBe(400);
    expect((await post(chat, { model: "a", messages: ask("hi") })).status).toBe(404);
  });

  it("tokenizes and detokenizes", async () => {
    const text = "Grüße aus 東京, amber 🦊";
    const answer = JSON.parse((await post("/tokenize", { prompt: text })).text) as {
      count: number;
      tokens: number[];
    };
    expect(Object.keys(answer)).toEqual(["count", "max_model_len", "tokens", "token_strs"]);
    expect(answer.tokens).toHaveLength(answer.count);
    expect((await post("/detokenize", { tokens: answer.tokens })).text).toBe(
      JSON.stringify({ prompt: text }),
    );
    const chatTokens = JSON.parse(
      (await post("/tokenize", { messages: ask("hi"), return_token_strs: true })).text,
    ) as {
      token_strs: string[];
    };
    expect(chatTokens.token_strs.join("")).toBe("<|user|>hi<|end|>\n<|assistant|>");
    expect((await post("/tokenize", {})).status).toBe(400);
    expect((await post("/detokenize", {})).status).toBe(400);
    expect((await post("/tokenize", { model: "x", prompt: "a" })).status).toBe(404);
  });

  it("sleeps: aborts what runs, makes what comes wait, and wakes up", async () => {
    engine.injectFault({ match: { nth: 1 }, fault: { kind: "stallAfterTokens", tokens: 2 } });
    const running = send(engine.url + chat, { body: { messages: ask("hi"), stream: true } });
    await running.until('"content":" ');
    expect((await post("/sleep?level=1", {})).status).toBe(200);
    const aborted = (await running.answer).text;
    expect(contentOf(aborted)).toBe(mockAnswer({ messages: ask("hi") }, 2));
    expect(aborted).toContain('"finish_reason":"abort"');
    expect((await get("/is_sleeping")).text).toBe('{"is_sleeping":true}');
    const waiting = send(engine.url + chat, { body: { messages: ask("hi") } });
    await engine.received(4);
    expect(engine.load).toEqual({ running: 0, waiting: 1 });
    await post("/wake_up", {});
    expect((await waiting.answer).status).toBe(200);
    expect((await post("/reset_prefix_cache", {})).text).toBe('{"success":true}');
  });

  it("metrics move", async () => {
    engine.injectFault({ match: { nth: 2 }, fault: { kind: "slow", timeToFirstTokenMs: 10 } });
    await post(chat, { messages: ask("hi"), max_tokens: 2 });
    const running = send(engine.url + chat, { body: { messages: ask("hi"), max_tokens: 2 } });
    await engine.received(2);
    const text = (await get("/metrics")).text;
    expect(text).toContain(
      '# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine="0",model_name="m"} 1.0\n',
    );
    expect(text).toContain('vllm:num_requests_waiting{engine="0",model_name="m"} 0.0\n');
    expect(text).toMatch(/vllm:kv_cache_usage_perc\{engine="0",model_name="m"\} 0\.000\d+/);
    expect(text).toContain(
      'vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 1.0\n',
    );
    expect(text).toContain('vllm:generation_tokens_total{engine="0",model_name="m"} 2.0\n');
    expect(text).toContain(
      'vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 1.0\n',
    );
    expect(text).toMatch(
      /vllm:lora_requests_info\{max_lora="4",running_lora_adapters="sql-lora",waiting_lora_adapters=""\} /,
    );
    clock.advance(10);
    await running.answer;
    expect((await get("/metrics")).text).toContain(
      'vllm:num_requests_running{engine="0",model_name="m"} 0.0\n',
    );
  });
});
