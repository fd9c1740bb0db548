import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { codePointCount, ownCopy, sharedPrefix } from "./text-prefix.ts";

const letters = fc.array(fc.constantFrom("a", "b", "é", "漢", "😀", "😁", "\ud83d", "\ude00"), {
  maxLength: 400,
});

describe("the shared prefix of two texts", () => {
  it("is as long as a loop finds it, and never cuts a pair", () => {
    fc.assert(
      fc.property(letters, letters, letters, fc.nat(20), (common, ends, otherEnds, offset) => {
        const text = [...common, ...ends].join("");
        const other = "-".repeat(offset) + [...common, ...otherEnds].join("");
        let expected = 0;
        while (
          expected < Math.min(text.length, other.length - offset) &&
          text[expected] === other[offset + expected]
        )
          expected += 1;
        const pair = /^[\ud800-\udbff][\udc00-\udfff]$/;
        const cuts =
          expected > 0 &&
          (pair.test(text.slice(expected - 1, expected + 1)) ||
            pair.test(other.slice(offset + expected - 1, offset + expected + 1)));
        expect(sharedPrefix(text, other, offset)).toBe(cuts ? expected - 1 : expected);
      }),
    );
  });

  it("counts code points as an iterator does", () => {
    fc.assert(
      fc.property(letters, (units) => {
        const text = units.join("");
        expect(codePointCount(text)).toBe(Array.from(text).length);
        expect(ownCopy(text)).toBe(text);
      }),
    );
  });
});
