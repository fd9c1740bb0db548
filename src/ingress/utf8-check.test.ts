import { isUtf8 } from "node:buffer";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Utf8Check } from "./utf8-check.ts";

/** The verdict on bytes that arrive cut at these places. */
function verdict(bytes: Uint8Array, cuts: readonly number[]): boolean {
  const check = new Utf8Check();
  const places = cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b);
  for (const place of places) check.advance(bytes.subarray(0, place));
  return check.finish(bytes);
}

const cuts = fc.array(fc.nat(60), { maxLength: 6 });

describe("Utf8Check", () => {
  it.each([
    [
      "text of every length of character",
      fc.string({ unit: "binary" }).map((text) => new TextEncoder().encode(text)),
    ],
    ["any bytes", fc.uint8Array({ maxLength: 40 })],
    [
      "text with a wrong byte",
      fc.tuple(fc.string({ unit: "binary", minLength: 1 }), fc.nat(), fc.nat(255)).map(([text, at, byte]) => {
        const bytes = new TextEncoder().encode(text);
        bytes[at % bytes.length] = byte;
        return bytes;
      }),
    ],
  ])("says of %s, cut anywhere, what is said of the whole", (_what, texts) => {
    fc.assert(
      fc.property(texts, cuts, (bytes, at) => {
        expect(verdict(bytes, at)).toBe(isUtf8(bytes));
      }),
    );
  });

  it("takes a character that comes byte by byte", () => {
    const bytes = new TextEncoder().encode("a😀é");
    expect(verdict(bytes, [1, 2, 3, 4, 5, 6, 7])).toBe(true);
    expect(verdict(bytes.subarray(0, -1), [1, 2, 3, 4, 5, 6])).toBe(false);
  });
});
