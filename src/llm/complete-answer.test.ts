import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import { RawJson } from "../protocol/raw-json.ts";
import { completeAnswer } from "./complete-answer.ts";
import type { PromptDetails } from "./prompt-usage.ts";

const origin: EngineErrorOrigin = { phase: "decode", replica: "d#1" };

/** What came of an answer: its text for the client, or the code of the error. */
function verdict(text: string, expectedChoices = 1, promptDetails?: () => PromptDetails): string {
  try {
    const body = completeAnswer(Buffer.from(text), origin, expectedChoices, undefined, promptDetails);
    return Buffer.from(body).toString();
  } catch (error) {
    return (error as { readonly code: string }).code;
  }
}

const choice = fc.oneof(
  { weight: 6, arbitrary: fc.constant('{"index":0,"finish_reason":"stop"}') },
  { weight: 1, arbitrary: fc.json() },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom("null", '"abort"', '"error"', '""', '"length"', '"st\\u006fp"', "1", '["stop"]')
      .map(
        (reason) => `{"message":{"finish_reason":"stop","content":"\\"}]"}, "finish_reason" : ${reason} }`,
      ),
  },
);

function isFinished(value: unknown): boolean {
  const reason = (value as { readonly finish_reason?: unknown } | null)?.finish_reason;
  return typeof reason === "string" && !["", "abort", "error"].includes(reason);
}

describe("a whole answer", () => {
  it("is one when every choice is finished and none is missing, as a parser sees it", () => {
    fc.assert(
      fc.property(fc.array(choice, { maxLength: 4 }), fc.integer({ min: 1, max: 3 }), (choices, expected) => {
        const text = `{"choices":[${choices.join(" , ")}]}`;
        const parsed = (JSON.parse(text) as { readonly choices: readonly unknown[] }).choices;
        const isWhole = parsed.length >= expected && parsed.every(isFinished);
        if (isWhole) expect(verdict(text, expected)).toBe(text);
        else expect(verdict(text, expected)).toMatch(/^stream_/);
      }),
    );
  });

  it.each([
    ["", "stream_malformed"],
    ["[]", "stream_malformed"],
    ['{"id":"x"}', "stream_malformed"],
    ['{"choices":{}}', "stream_malformed"],
    ['{"choices":[]}', "stream_swallowed"],
    ['{"choices":[{"finish_reason":null}]}', "stream_truncated"],
    ['{"choices":[{"finish_reason":"stop"}],"error":"late"}', "engine_response_error"],
  ])("is not %s: %s", (text, code) => {
    expect(verdict(text)).toBe(code);
  });

  const done = '"choices":[{"finish_reason":"stop"}]';
  const cached = RawJson.fromText('{"cached_tokens":18446744073709551615}');

  it.each<[string, string, PromptDetails, string]>([
    ["has nothing to hide", `{${done},"usage":{"a":1}}`, undefined, `{${done},"usage":{"a":1}}`],
    ["loses internal fields", `{${done},"kv_transfer_params":null}`, undefined, `{${done}}`],
    [
      "loses both of them",
      `{"ec_transfer_params":1,${done},"kv_transfer_params":{}}`,
      undefined,
      `{${done}}`,
    ],
    [
      "says what prefill said of its prompt",
      `{${done},"usage":{"a":1,"prompt_tokens_details":null}}`,
      cached,
      `{${done},"usage":{"a":1,"prompt_tokens_details":{"cached_tokens":18446744073709551615}}}`,
    ],
    [
      "keeps decode's other details",
      `{${done},"usage":{"prompt_tokens_details":{"audio_tokens":2,"cached_tokens":7}}}`,
      cached,
      `{${done},"usage":{"prompt_tokens_details":{"audio_tokens":2,"cached_tokens":18446744073709551615}}}`,
    ],
    [
      "says nothing of a prompt where prefill does not",
      `{${done},"usage":{"prompt_tokens_details":{"cached_tokens":7}}}`,
      undefined,
      `{${done},"usage":{"prompt_tokens_details":null}}`,
    ],
    [
      "keeps a usage that is none",
      `{${done},"usage":[{"prompt_tokens_details":{}}]}`,
      cached,
      `{${done},"usage":[{"prompt_tokens_details":{}}]}`,
    ],
  ])("%s", (_name, text, details, expected) => {
    expect(verdict(text, 1, () => details)).toBe(expected);
  });
});
