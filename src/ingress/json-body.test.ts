import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RequestError } from "../errors/request-error.ts";
import { jsonRules } from "./body-rules.ts";
import { parseGenerationBody } from "./generation-request.ts";
import { parseJsonBody } from "./json-body.ts";

type Route = keyof typeof jsonRules;

function problemsOf(route: Route, body: unknown): RequestError {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  try {
    parseJsonBody(Buffer.from(text), jsonRules[route]);
  } catch (error) {
    if (error instanceof RequestError) return error;
    throw error;
  }
  throw new Error("expected it to be refused");
}

const hi = [{ role: "user", content: "hi" }];

describe("a body is refused by the name of its field", () => {
  it.each<[Route, unknown, string]>([
    ["chat", {}, "messages"],
    ["chat", { messages: "hi" }, "messages"],
    ["chat", { messages: null }, "messages"],
    ["chat", { messages: ["hi"] }, "messages[0]"],
    ["chat", { messages: [...hi, { role: "user", content: 5 }] }, "messages[1].content"],
    ["chat", { messages: [{ role: "user", content: { type: "text" } }] }, "messages[0].content"],
    ["chat", { messages: [{ role: "assistant", tool_calls: 5 }] }, "messages[0].tool_calls"],
    ["chat", { messages: hi, stream: "true" }, "stream"],
    ["chat", { messages: hi, max_tokens: 1.5 }, "max_tokens"],
    ["chat", { messages: hi, n: "2" }, "n"],
    ["chat", { messages: hi, temperature: "hot" }, "temperature"],
    ["chat", { messages: hi, tools: {} }, "tools"],
    ["chat", { messages: hi, tool_choice: "always" }, "tool_choice"],
    ["chat", { messages: hi, stream_options: { include_usage: "maybe" } }, "stream_options.include_usage"],
    ["chat", { messages: hi, stream_options: 5 }, "stream_options"],
    ["chat", { messages: hi, logit_bias: { "1": "x" } }, "logit_bias"],
    ["chat", { messages: hi, model: 5 }, "model"],
    ["completions", { prompt: 5 }, "prompt"],
    ["completions", { prompt: [1, "a"] }, "prompt[1]"],
    ["completions", { prompt: [[1], ["a"]] }, "prompt[1][0]"],
    ["completions", { prompt: [true] }, "prompt[0]"],
    ["completions", { prompt: "a", truncate_prompt_tokens: -2 }, "truncate_prompt_tokens"],
    ["embeddings", {}, "input"],
    ["embeddings", { input: 5 }, "input"],
    ["embeddings", { input: "a", encoding_format: "x" }, "encoding_format"],
    ["embeddings", { input: "a", dimensions: 0 }, "dimensions"],
    ["tokenize", {}, "prompt"],
    ["detokenize", {}, "tokens"],
    ["detokenize", { tokens: ["a"] }, "tokens[0]"],
    ["score", { text_2: "a" }, "text_1"],
    ["rerank", { query: "a" }, "documents"],
    ["responses", { input: 5 }, "input"],
    ["messages", { messages: [1] }, "messages[0]"],
  ])("%s %j: %s", (route, body, param) => {
    expect(problemsOf(route, body)).toMatchObject({ status: 400, code: "invalid_parameter", param });
  });

  it("names every problem, and repeats no value", () => {
    const error = problemsOf("chat", { messages: 5, n: "secret-1", stream: "secret-2", stop: 7, top_p: {} });
    for (const field of ["messages", "n", "stream", "stop", "top_p"])
      expect(error.message).toContain(`\`${field}\``);
    expect(error.message).not.toContain("secret");
  });

  it("says which fields are there twice", () => {
    const error = problemsOf("chat", '{"messages":[],"n":1,"\\u006e":1,"n":1}');
    expect(error.message).toBe("Invalid request format: `n` is there more than once.");
  });

  it.each(["", " ", "[1,2", "[]", '"x"', "null", '{"a":NaN}', '{"messages":[]}}', "{'a':1}"])(
    "%j is no body",
    (text) => {
      expect(problemsOf("chat", text)).toMatchObject({ status: 400, code: "invalid_json", param: null });
    },
  );
});

describe("a body is accepted", () => {
  it.each<[Route, unknown]>([
    [
      "chat",
      {
        model: null,
        messages: [],
        stream: null,
        n: null,
        seed: 1e15,
        stop: ["a"],
        tool_choice: { type: "function" },
      },
    ],
    [
      "chat",
      {
        messages: [
          { role: "assistant", content: null, tool_calls: [{}] },
          { role: "user", content: [{}] },
        ],
      },
    ],
    ["chat", { messages: hi, unknown: { a: [1, 2.5] }, max_tokens: 5.0 }],
    ["completions", { prompt: "a" }],
    ["completions", { prompt: ["a", "b"] }],
    ["completions", { prompt: [1, 2] }],
    ["completions", { prompt: [[1], [2, 3]] }],
    ["completions", { prompt_embeds: "x" }],
    ["embeddings", { messages: hi }],
    ["tokenize", { messages: hi }],
    ["score", { queries: ["a"], documents: ["b"] }],
  ])("%s %j", (route, body) => {
    const parsed = parseJsonBody(Buffer.from(JSON.stringify(body)), jsonRules[route]);
    expect(JSON.parse(Buffer.from(parsed.body.bytes).toString())).toEqual(body);
  });

  it("with a byte order mark, which does not go on", () => {
    const parsed = parseJsonBody(Buffer.from('\ufeff{"messages":[]}'), jsonRules.chat);
    expect(Buffer.from(parsed.body.bytes).toString()).toBe('{"messages":[]}');
  });

  it("and read as far as serving it needs", () => {
    const parse = (body: object): object => {
      const { body: _body, ...rest } = parseGenerationBody(Buffer.from(JSON.stringify(body)), "completions");
      return rest;
    };
    expect(parse({ prompt: ["a", "b"], n: 2, model: "m", stream: true, priority: -3 })).toEqual({
      model: "m",
      stream: true,
      priority: -3,
      expectedChoices: 4,
    });
    expect(parse({ prompt: [1, 2] })).toEqual({
      model: undefined,
      stream: false,
      priority: 0,
      expectedChoices: 1,
    });
  });
});

it("any JSON is read, or refused with a RequestError and nothing else", () => {
  const key = fc.constantFrom(
    "messages",
    "prompt",
    "input",
    "stream",
    "stream_options",
    "logit_bias",
    "tools",
    "n",
    "stop",
    "tokens",
  );
  const body = fc.oneof(fc.dictionary(key, fc.jsonValue()), fc.jsonValue());
  fc.assert(
    fc.property(body, fc.constantFrom(...(Object.keys(jsonRules) as Route[])), (value, route) => {
      try {
        parseJsonBody(Buffer.from(JSON.stringify(value)), jsonRules[route]);
      } catch (error) {
        expect(error).toBeInstanceOf(RequestError);
      }
    }),
    { numRuns: 2000 },
  );
});
