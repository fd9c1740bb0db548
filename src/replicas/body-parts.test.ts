import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { joinSmallParts, sizeOfParts } from "./body-parts.ts";

describe("joinSmallParts", () => {
  it("keeps every byte and leaves no two small parts side by side", () => {
    const part = fc
      .oneof(fc.nat(100), fc.constantFrom(16 * 1024 - 1, 16 * 1024, 150_000))
      .chain((length) => fc.nat(255).map((byte) => Buffer.alloc(length, byte)));
    fc.assert(
      fc.property(fc.array(part, { maxLength: 9 }), (parts) => {
        const joined = joinSmallParts(parts);
        const pieces = Buffer.isBuffer(joined) ? [joined] : joined;
        expect(Buffer.concat(pieces).equals(Buffer.concat(parts))).toBe(true);
        expect(Buffer.isBuffer(joined)).toBe(sizeOfParts(parts) < 128 * 1024);
        const small = parts.map(({ length }) => length < 16 * 1024);
        const runs = small.filter((isSmall, index) => isSmall && small[index - 1] !== true).length;
        if (!Buffer.isBuffer(joined))
          expect(joined).toHaveLength(runs + small.filter((isSmall) => !isSmall).length);
      }),
      { numRuns: 200 },
    );
  });

  it("does not copy large parts", () => {
    const large = Buffer.alloc(200_000);
    const joined = joinSmallParts([Buffer.from("a"), Buffer.from("b"), large, Buffer.from("c")]);
    expect(Buffer.isBuffer(joined) ? [] : joined.map(String)).toEqual(["ab", String(large), "c"]);
    expect(Buffer.isBuffer(joined) ? undefined : joined[1]).toBe(large);
  });
});
