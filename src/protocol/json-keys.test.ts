import * as fc from "fast-check";
import { expect, it } from "vitest";
import { jsonKeyAt } from "./json-keys.ts";
import { utf8At } from "./json-text.fixture.ts";

function keyOf(text: string, offset = 0): string {
  const bytes = utf8At(`{${text}:1}`, offset);
  return jsonKeyAt(bytes, 1, bytes.length - 3);
}

// Few letters and lengths, so that keys meet others in their slots; and what must never be kept as it is.
const letters = fc.string({ unit: fc.constantFrom("a", "b", "c", "_"), maxLength: 34 });
const written = fc.oneof(
  { weight: 4, arbitrary: letters.map((key) => JSON.stringify(key)) },
  { weight: 1, arbitrary: fc.string({ unit: "binary" }).map((key) => JSON.stringify(key)) },
  { weight: 1, arbitrary: letters.map((key) => `"\\u0061${key}\\n"`) },
);

it("is the key that JSON.parse reads, however often and among whichever others", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(written, fc.nat(3)), { maxLength: 30 }), (keys) => {
      for (const [text, offset] of [...keys, ...keys]) {
        expect(keyOf(text, offset)).toBe(JSON.parse(text));
      }
    }),
  );
});

it("tells bytes that are no UTF-8 from keys of the same length", () => {
  const bytes = Buffer.from('"ab"');
  bytes[2] = 0xff;
  expect([keyOf('"ab"'), jsonKeyAt(bytes, 0, 4), jsonKeyAt(bytes, 0, 4), keyOf('"ab"')]).toEqual([
    "ab",
    "a\ufffd",
    "a\ufffd",
    "ab",
  ]);
});
