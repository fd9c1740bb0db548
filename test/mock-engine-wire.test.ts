import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { FakeClock, MockVLLMEngine, encodeText, mockAnswer } from "../src/testing/index.ts";
import { ask, contentOf, send } from "./mock-engine-client.ts";

const chatPath = "/v1/chat/completions";
const completionsPath = "/v1/completions";

describe("MockVLLMEngine speaks vLLM byte for byte", () => {
  let engine: MockVLLMEngine;
  let fingerprint: string;

  beforeEach(async () => {
    engine = new MockVLLMEngine({ model: "m", clock: new FakeClock(), seed: 7 });
    await engine.start();
    const { text } = await send(engine.url + completionsPath, { body: { prompt: "x", max_tokens: 1 } })
      .answer;
    fingerprint = (JSON.parse(text) as { system_fingerprint: string }).system_fingerprint;
    expect(fingerprint).toMatch(/^vllm-0\.27\.1-[0-9a-f]{8}$/);
  });

  afterEach(async () => {
    await engine.stop();
    engine.ledger.assertBalanced();
    expect([engine.openResponses, engine.openSockets]).toEqual([0, 0]);
  });

  const post = async (path: string, body: unknown): Promise<Awaited<ReturnType<typeof send>["answer"]>> =>
    send(engine.url + path, { body, headers: { "x-request-id": "abc" } }).answer;

  it("chat stream", async () => {
    const request = { model: "m", messages: ask("hi"), max_tokens: 2, stream: true };
    const answer = await post(chatPath, request);
    const [first, second] = mockAnswer(request, 2).split(" ");
    const start =
      'data: {"id":"chatcmpl-abc","object":"chat.completion.chunk","created":1786700000,"model":"m","choices":[';
    expect(answer.status).toBe(200);
    expect(answer.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    expect(answer.headers["transfer-encoding"]).toBe("chunked");
    expect(answer.headers["server"]).toBe("uvicorn");
    expect(answer.text).toBe(
      `${start}{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_token_ids":null,"prompt_text":null}\n\n` +
        `${start}{"index":0,"delta":{"content":"${first}"},"logprobs":null,"finish_reason":null,"token_ids":null}]}\n\n` +
        `${start}{"index":0,"delta":{"content":" ${second}"},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null}],"system_fingerprint":"${fingerprint}"}\n\n` +
        "data: [DONE]\n\n",
    );
  });

  it("chat stream with usage: the fingerprint moves to the usage frame", async () => {
    const request = { model: "m", messages: ask("hi"), max_tokens: 1, stream: true };
    const prompt = encodeText("<|user|>hi<|end|>\n<|assistant|>").length;
    const answer = await post(chatPath, { ...request, stream_options: { include_usage: true } });
    expect(answer.text).toContain('"finish_reason":"length","stop_reason":null,"token_ids":null}]}\n\n');
    expect(answer.text).toContain(
      'data: {"id":"chatcmpl-abc","object":"chat.completion.chunk","created":1786700000,"model":"m","choices":[],' +
        `"usage":{"prompt_tokens":${prompt},"total_tokens":${prompt + 1},"completion_tokens":1},"system_fingerprint":"${fingerprint}"}\n\ndata: [DONE]\n\n`,
    );
    const continuous = await post(chatPath, {
      ...request,
      stream_options: { include_usage: true, continuous_usage_stats: true },
    });
    expect(continuous.text.match(/"usage":/g)).toHaveLength(3);
    expect(continuous.text).toContain(
      `"usage":{"prompt_tokens":${prompt},"total_tokens":${prompt},"completion_tokens":0}`,
    );
  });

  it("chat answer", async () => {
    const request = { model: "m", messages: ask("hi"), max_tokens: 1 };
    const prompt = encodeText("<|user|>hi<|end|>\n<|assistant|>").length;
    const answer = await post(chatPath, request);
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(answer.headers["connection"]).not.toBe("keep-alive");
    expect(answer.text).toBe(
      '{"id":"chatcmpl-abc","object":"chat.completion","created":1786700000,"model":"m","choices":[{"index":0,"message":' +
        `{"role":"assistant","content":"${mockAnswer(request, 1)}","refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":null},` +
        '"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null,"routed_experts":null}],"service_tier":null,' +
        `"system_fingerprint":"${fingerprint}","usage":{"prompt_tokens":${prompt},"total_tokens":${prompt + 1},"completion_tokens":1,"prompt_tokens_details":null},` +
        '"prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null,"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}',
    );
  });

  it("completions stream has no role frame", async () => {
    const answer = await post(completionsPath, { model: "m", prompt: "hi", max_tokens: 1, stream: true });
    expect(answer.text).toBe(
      'data: {"id":"cmpl-abc","object":"text_completion","created":1786700000,"model":"m","choices":[{"index":0,' +
        `"text":"${mockAnswer({ prompt: "hi" }, 1)}","logprobs":null,"finish_reason":"length","stop_reason":null,"prompt_token_ids":null,"token_ids":null}],` +
        `"system_fingerprint":"${fingerprint}"}\n\ndata: [DONE]\n\n`,
    );
  });

  it("completions answer", async () => {
    const answer = await post(completionsPath, { model: "m", prompt: "hi", max_tokens: 1 });
    expect(answer.text).toBe(
      '{"id":"cmpl-abc","object":"text_completion","created":1786700000,"model":"m","choices":[{"index":0,' +
        `"text":"${mockAnswer({ prompt: "hi" }, 1)}","logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null,` +
        '"prompt_logprobs":null,"prompt_token_ids":null,"routed_experts":null}],"service_tier":null,' +
        `"system_fingerprint":"${fingerprint}","usage":{"prompt_tokens":1,"total_tokens":2,"completion_tokens":1,"prompt_tokens_details":null},` +
        '"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}',
    );
  });

  it("ends by itself with an empty final piece, and says stop", async () => {
    const request = { model: "m", messages: ask("a long answer, please"), stream: true };
    const answer = await post(chatPath, request);
    expect(contentOf(answer.text)).toBe(mockAnswer(request));
    expect(answer.text).toContain(
      '"delta":{"content":""},"logprobs":null,"finish_reason":"stop","stop_reason":null',
    );
    const words = mockAnswer(request).split(" ").length;
    expect(words).toBeGreaterThanOrEqual(8);
    expect(words).toBeLessThanOrEqual(24);
  });

  it("numbers choices prompt by prompt, each with its own text", async () => {
    const body = { prompt: ["one", "two"], n: 2, max_tokens: 2 };
    const answer = JSON.parse((await post(completionsPath, body)).text) as {
      choices: { index: number; text: string }[];
    };
    expect(answer.choices.map(({ index, text }) => [index, text])).toEqual([
      [0, mockAnswer({ prompt: "one" }, 2)],
      [1, mockAnswer({ prompt: "one" }, 2, 1)],
      [2, mockAnswer({ prompt: "two" }, 2)],
      [3, mockAnswer({ prompt: "two" }, 2, 1)],
    ]);
    const stream = (await post(chatPath, { messages: ask("x"), n: 2, max_tokens: 1, stream: true })).text;
    expect(stream.match(/"role":"assistant"/g)).toHaveLength(2);
    expect(stream.match(/"finish_reason":"length"/g)).toHaveLength(2);
  });

  it("stops at stop strings and stop tokens", async () => {
    const whole = mockAnswer({ messages: ask("stop here") });
    const third = whole.split(" ")[2] as string;
    const answer = JSON.parse((await post(chatPath, { messages: ask("stop here"), stop: [third] })).text) as {
      choices: { message: { content: string }; finish_reason: string; stop_reason: string }[];
    };
    expect(answer.choices[0]).toMatchObject({ finish_reason: "stop", stop_reason: third });
    expect(answer.choices[0]?.message.content).toBe(whole.slice(0, whole.indexOf(third)));
    const token = encodeText(` ${third}`)[0];
    const byToken = await post(chatPath, { messages: ask("stop here"), stop_token_ids: [token] });
    expect(byToken.text).toContain(`"finish_reason":"stop","stop_reason":${token}`);
  });

  it("answers a named tool choice with a call", async () => {
    const tools = [{ type: "function", function: { name: "get_weather", parameters: { type: "object" } } }];
    const body = {
      messages: ask("weather?"),
      tools,
      tool_choice: { type: "function", function: { name: "get_weather" } },
    };
    const answer = JSON.parse((await post(chatPath, body)).text) as {
      choices: {
        message: {
          content: string;
          tool_calls: { id: string; function: { name: string; arguments: string } }[];
        };
        finish_reason: string;
      }[];
    };
    const call = answer.choices[0]?.message.tool_calls[0];
    expect(call?.id).toMatch(/^chatcmpl-tool-[0-9a-f]{32}$/);
    expect(call?.function.name).toBe("get_weather");
    expect(call?.function.arguments).toBe(mockAnswer(body));
    expect(JSON.parse(call?.function.arguments ?? "")).toHaveProperty("text");
    expect(answer.choices[0]?.finish_reason).toBe("stop");
    const stream = (await post(chatPath, { ...body, tool_choice: "required", stream: true })).text;
    expect(stream).toContain(
      '"type":"function","index":0,"function":{"name":"get_weather","arguments":"{\\"text\\":\\""}}]}',
    );
    expect(stream).toContain('"finish_reason":"tool_calls"');
  });

  it("echoes, returns token ids and log probabilities when asked", async () => {
    const body = { prompt: "say it", max_tokens: 1, echo: true, return_token_ids: true, logprobs: 1 };
    const answer = JSON.parse((await post(completionsPath, body)).text) as {
      choices: {
        text: string;
        token_ids: number[];
        prompt_token_ids: number[];
        logprobs: { tokens: string[] };
      }[];
    };
    const said = mockAnswer({ prompt: "say it" }, 1);
    expect(answer.choices[0]?.text).toBe(`say it${said}`);
    expect(answer.choices[0]?.token_ids).toEqual(encodeText(said));
    expect(answer.choices[0]?.prompt_token_ids).toEqual(encodeText("say it"));
    expect(answer.choices[0]?.logprobs.tokens).toEqual([said]);
  });

  it("puts several tokens into a frame on request", async () => {
    const stream = (
      await post(chatPath, { messages: ask("x"), max_tokens: 6, stream: true, stream_interval: 3 })
    ).text;
    expect(stream.match(/"delta":\{"content":"[^"]/g)).toHaveLength(2);
    expect(contentOf(stream)).toBe(mockAnswer({ messages: ask("x") }, 6));
  });

  it("takes its time, on the clock it was given", async () => {
    const clock = new FakeClock();
    const slow = new MockVLLMEngine({
      clock,
      latency: { prefillMsPerToken: 1, timeToFirstTokenMs: 10, interTokenMs: 5 },
    });
    await slow.start();
    const pending = send(slow.url + completionsPath, { body: { prompt: "hi", max_tokens: 2, stream: true } });
    await slow.received(1);
    clock.advance(10.9);
    expect(slow.requests[0]?.tokens).toBe(0);
    clock.advance(0.1);
    expect(slow.requests[0]?.tokens).toBe(1);
    clock.advance(4.9);
    expect(slow.requests[0]?.tokens).toBe(1);
    clock.advance(0.1);
    expect(contentOf((await pending.answer).text)).toBe(mockAnswer({ prompt: "hi" }, 2));
    expect(clock.pendingTimers).toBe(0);
    await slow.stop();
  });
});
