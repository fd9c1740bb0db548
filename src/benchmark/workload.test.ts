import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { ConfigurationError } from "../errors/configuration-error.ts";
import { seededRandom } from "../testing/seeded-random.ts";
import { ConversationSource, textOfTokens } from "./conversation.ts";
import { drawLength, parseLengthDistribution } from "./length-distribution.ts";
import { parseTrace } from "./trace-file.ts";

describe("length distributions", () => {
  it("read what they print in messages, and refuse the rest", () => {
    expect(parseLengthDistribution("128")).toEqual({ kind: "fixed", tokens: 128 });
    expect(parseLengthDistribution("uniform:64-256")).toEqual({ kind: "uniform", least: 64, most: 256 });
    expect(parseLengthDistribution("lognormal:256,0.8,4096")).toEqual({
      kind: "lognormal",
      median: 256,
      sigma: 0.8,
      most: 4096,
    });
    for (const text of ["", "0", "-1", "1.5", "uniform:9-3", "uniform:0-3", "lognormal:0,1", "normal:1,2"]) {
      expect(() => parseLengthDistribution(text), text).toThrow(ConfigurationError);
    }
  });

  it("stay within their bounds", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 500 }), fc.nat(500), (seed, least, more) => {
        const random = seededRandom(seed);
        const most = least + more;
        const uniform = drawLength({ kind: "uniform", least, most }, random);
        const lognormal = drawLength({ kind: "lognormal", median: least, sigma: 2, most }, random);
        for (const drawn of [uniform, lognormal]) expect(Number.isInteger(drawn)).toBe(true);
        expect(uniform).toBeGreaterThanOrEqual(least);
        expect(Math.max(uniform, lognormal)).toBeLessThanOrEqual(most);
        expect(lognormal).toBeGreaterThanOrEqual(1);
      }),
    );
  });

  it("have the median they were given", () => {
    const random = seededRandom(3);
    const drawn = Array.from({ length: 4_000 }, () =>
      drawLength({ kind: "lognormal", median: 200, sigma: 0.8, most: 10_000 }, random),
    ).sort((a, b) => a - b);
    expect(drawn[2_000]).toBeGreaterThan(190);
    expect(drawn[2_000]).toBeLessThan(210);
  });
});

describe("conversations", () => {
  const options = {
    promptTokens: { kind: "fixed", tokens: 20 },
    outputTokens: { kind: "uniform", least: 5, most: 9 },
    turns: 3,
    sharedPrefixes: 2,
    sharedPrefixTokens: 30,
  } as const;

  it("share their prefixes and nothing else", () => {
    const source = new ConversationSource(options, seededRandom(1));
    const made = Array.from({ length: 50 }, () => source.next());
    expect(new Set(made.map(({ opening }) => opening[0]?.content)).size).toBe(2);
    const contents = made.flatMap(({ turns }) => turns.map(({ content }) => content));
    expect(new Set(contents).size).toBe(150);
    for (const content of contents) expect(content.split(" ")).toHaveLength(20);
  });

  it("repeat with their seed", () => {
    const conversationOf = (seed: number) => new ConversationSource(options, seededRandom(seed)).next(4);
    expect(conversationOf(5)).toEqual(conversationOf(5));
    expect(conversationOf(5)).not.toEqual(conversationOf(6));
    expect(textOfTokens(0, seededRandom(1))).toBe("");
  });
});

describe("traces", () => {
  const parse = (text: string, speed = 1) => parseTrace(text, speed, seededRandom(1));

  it("are read in Mooncake's spelling, with shared beginnings", () => {
    const { conversations, ignoredFields } = parse(
      '{"timestamp": 2000, "input_length": 700, "output_length": 9, "hash_ids": [1, 2], "chat_id": 3}\n\n' +
        '{"timestamp": 0, "input_length": 600, "output_length": 8, "hash_ids": [1, 3]}\n',
      2,
    );
    expect(conversations.map(({ atMs }) => atMs)).toEqual([0, 1000]);
    expect(ignoredFields).toEqual(["chat_id"]);
    const [first, second] = conversations.map(({ turns }) => turns[0]!.content.split(" "));
    expect([first!.length, second!.length]).toEqual([600, 700]);
    expect(first!.slice(0, 512)).toEqual(second!.slice(0, 512));
    expect(first!.slice(512, 600)).not.toEqual(second!.slice(512, 600));
  });

  it("begin with their first request, whenever that was", () => {
    const line = (atMs: number): string => JSON.stringify({ atMs, promptTokens: 3, outputTokens: 2 });
    const { conversations } = parse([1_700_000_000_500, 1_700_000_000_000].map(line).join("\n"), 10);
    expect(conversations.map(({ atMs }) => Math.round(atMs!))).toEqual([0, 50]);
  });

  it("may bring their own messages", () => {
    const messages = [
      { role: "system", content: "s" },
      { role: "user", content: "u" },
    ];
    const { conversations } = parse(JSON.stringify({ atMs: 5, outputTokens: 3, messages }));
    expect(conversations).toEqual([
      { opening: [messages[0]], turns: [{ content: "u", outputTokens: 3 }], atMs: 0 },
    ]);
  });

  it.each([
    ["", /no requests/],
    ["nonsense", /line 1: Input should be a JSON object/],
    ['{"atMs": 1, "promptTokens": 2, "outputTokens": 3}\n{"atMs": -1}', /line 2: atMs/],
    ['{"atMs": 1, "promptTokens": 2}', /line 1: outputTokens/],
    ['{"atMs": 1, "promptTokens": 0, "outputTokens": 3}', /line 1: promptTokens/],
    [
      '{"atMs": 1, "outputTokens": 3, "messages": [{"role": "assistant", "content": "x"}]}',
      /line 1: messages/,
    ],
  ])("that can't be read are refused with their line: %s", (text, message) => {
    expect(() => parse(text)).toThrow(message);
  });
});
