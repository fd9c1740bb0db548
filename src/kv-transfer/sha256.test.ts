import * as fc from "fast-check";
import { expect, it } from "vitest";

import { sha256Hex } from "./sha256.ts";

it("agrees with the platform's SHA-256, at every length around a block's end too", async () => {
  const lengths = fc
    .integer({ min: 0, max: 200 })
    .map((length) => "é".repeat(length >> 1) + "x".repeat(length & 1));
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string({ unit: "grapheme" }), lengths), async (text) => {
      const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
      const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
      expect(sha256Hex(text)).toBe(hex);
    }),
  );
});
