import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { recordedPrompt } from "./recorded-prompt.ts";

const record = (body: Readonly<Record<string, unknown>>, characters: number): unknown => {
  const text = recordedPrompt((name) => body[name], characters);
  return text === undefined ? undefined : JSON.parse(text);
};

describe("recordedPrompt", () => {
  const messages = [
    { role: "system", content: "Be brief." },
    {
      role: "user",
      content: [
        { type: "image_url", image_url: { url: "data:image/png;base64,canary" } },
        { type: "text", text: "What is this?" },
      ],
    },
  ];

  it("has the text of a chat, and of images only that they are there", () => {
    expect(record({ messages }, 1_000)).toEqual([
      { role: "system", parts: [{ type: "text", content: "Be brief." }] },
      { role: "user", parts: [{ type: "image_url" }, { type: "text", content: "What is this?" }] },
    ]);
  });

  it("keeps the end of what is too long", () => {
    expect(record({ messages }, 5)).toEqual([
      { role: "user", parts: [{ type: "image_url" }, { type: "text", content: "this?" }] },
    ]);
  });

  it("cuts no character in two", () => {
    const content = (characters: number): unknown => record({ prompt: "a\u{1F600}b" }, characters);
    expect(content(2)).toEqual([{ role: "user", parts: [{ type: "text", content: "b" }] }]);
    expect(content(3)).toEqual([{ role: "user", parts: [{ type: "text", content: "\u{1F600}b" }] }]);
  });

  it("has the prompts of completions, but no token ids", () => {
    expect(record({ prompt: ["one", "two"] }, 10)).toEqual([
      { role: "user", parts: [{ type: "text", content: "one" }] },
      { role: "user", parts: [{ type: "text", content: "two" }] },
    ]);
    expect(record({ prompt: [1, 2] }, 10)).toBeUndefined();
    expect(record({}, 10)).toBeUndefined();
  });

  it("takes any JSON, within its bound", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.integer({ min: 1, max: 40 }), (value, characters) => {
        for (const field of ["messages", "prompt"]) {
          const recorded = (record({ [field]: value }, characters) ?? []) as {
            parts: { content?: string }[];
          }[];
          const text = recorded.flatMap(({ parts }) => parts.map(({ content }) => content ?? ""));
          expect(text.join("").length).toBeLessThanOrEqual(characters);
        }
      }),
    );
  });
});
