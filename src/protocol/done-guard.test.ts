import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DoneGuard } from "./done-guard.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Sends the text in pieces of `size` bytes. */
function run(
  text: string,
  size: number,
): { guard: DoneGuard; passed: string; held: string; steps: number[] } {
  const guard = new DoneGuard();
  const bytes = encode(text);
  const passed: Uint8Array[] = [];
  const steps: number[] = [];
  for (let position = 0; position < bytes.length; position += size) {
    const { pass } = guard.take(bytes.subarray(position, position + size));
    if (pass !== undefined) passed.push(pass);
    steps.push(guard.held?.length ?? 0);
  }
  return {
    guard,
    passed: Buffer.concat(passed).toString(),
    held: Buffer.from(guard.held ?? []).toString(),
    steps,
  };
}

const lines = fc.constantFrom(
  "data: [DONE]",
  "data:[DONE]",
  "data: [DON",
  "data: [DONE]x",
  " data: [DONE]",
  'data: {"a":"[DONE]"}',
  ": ping",
  "",
  "d",
  "data: ü",
);
const breaks = fc.constantFrom("\n", "\r\n", "\r", "\n\n", "");

describe("DoneGuard", () => {
  it("loses and reorders nothing, whatever the lines and chunks, and waits for a possible line only", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(lines, breaks), { maxLength: 12 }),
        fc.integer({ min: 1, max: 30 }),
        (parts, size) => {
          const text = parts.map((part) => part.join("")).join("");
          const { guard, passed, held, steps } = run(text, size);
          expect(passed + held).toBe(text);
          const match = /(?:^|[\r\n])(data: ?\[DONE\])(?:[\r\n]|$)/.exec(text);
          expect(guard.sawDone).toBe(match !== null);
          if (match === null) {
            expect("data: [DONE]".startsWith(held) || "data:[DONE]".startsWith(held)).toBe(true);
            expect(Math.max(0, ...steps)).toBeLessThanOrEqual("data: [DONE]".length);
          } else {
            expect(passed).toBe(text.slice(0, match.index + match[0].indexOf("data")));
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  it("passes complete events at once, as views", () => {
    const guard = new DoneGuard();
    const chunk = encode('data: {"a":1}\n\n');
    expect(guard.take(chunk).pass?.buffer).toBe(chunk.buffer);
    expect(guard.held).toBeUndefined();
  });

  it("holds a line cut in two, and lets it go when it was another", () => {
    const guard = new DoneGuard();
    expect(guard.take(encode("data: x\n\ndata: [DO")).pass).toEqual(encode("data: x\n\n"));
    expect(guard.sawDone).toBe(false);
    expect(guard.take(encode("NE]")).pass).toBeUndefined();
    expect(guard.sawDone).toBe(true);
    expect(guard.take(encode("!\n")).pass).toEqual(encode("data: [DONE]!\n"));
    expect(guard.sawDone).toBe(false);
  });

  it("can start within a line", () => {
    const guard = new DoneGuard({ withinLine: true });
    expect(guard.take(encode("data: [DONE]\n")).pass).toEqual(encode("data: [DONE]\n"));
    expect(guard.take(encode("data: [DONE]\n")).pass).toBeUndefined();
  });
});
