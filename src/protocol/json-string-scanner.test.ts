import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { JsonScanError } from "./json-scan-error.ts";
import { JsonStringScanner } from "./json-string-scanner.ts";
import { utf8At } from "./json-text.fixture.ts";

const scanners = {
  "the wide scan": () => new JsonStringScanner(),
  words: () => new JsonStringScanner(() => undefined),
};

/** Where the string at the start of the bytes ends, or the error, when the text is seen up to each cut in turn. */
function outcomeOf(scanner: JsonStringScanner, bytes: Uint8Array, cuts: readonly number[] = []): unknown {
  let from = 1;
  try {
    for (const [index, cut] of [...cuts, bytes.length].entries()) {
      scanner.load(bytes.subarray(0, cut));
      const end = scanner.skip(0, from, index === cuts.length);
      if (end >= 0) return end;
      from = scanner.position;
    }
    return "paused at the end";
  } catch (error) {
    expect(error).toBeInstanceOf(JsonScanError);
    return (error as Error).message;
  }
}

/** Whether JSON.parse takes the text, which begins with a quote, as a string that ends at `end`. */
function parses(bytes: Uint8Array, end: number): boolean {
  try {
    return typeof JSON.parse(Buffer.from(bytes.subarray(0, end)).toString()) === "string";
  } catch {
    return false;
  }
}

/** Text in which escapes of every length lie across every border, with now and then something wrong. */
const longText = fc
  .array(
    fc.oneof(
      {
        weight: 6,
        arbitrary: fc.constantFrom(
          '\\"',
          "\\\\",
          "\\n",
          "\\/",
          "\\u00e9",
          "\\uD83D\\ude00",
          "\\\\\\\\",
          "\\\\\\n",
        ),
      },
      { weight: 6, arbitrary: fc.constantFrom("a", " ", "u", "n", "0", "f", "é", "漢字", "😀", "\u007f") },
      { weight: 2, arbitrary: fc.nat(70).map((length) => "plain ".repeat(12).slice(0, length)) },
    ),
    { minLength: 100, maxLength: 400 },
  )
  .map((pieces) => pieces.join(""));

const damage = fc.constantFrom(
  '"',
  "\\",
  "\\x",
  "\\u12",
  "\\u",
  "\\uabc",
  "\\u123g",
  "\\U0041",
  "\n",
  "\u0000",
  "\u001f",
  "\\\u0000",
  "\\\\",
  '\\\\"',
  "\\\\\\",
);

const positions = fc.array(fc.nat(), { maxLength: 4 });

function sortedWithin(length: number, values: readonly number[]): number[] {
  return values.map((value) => 1 + (value % length)).toSorted((left, right) => left - right);
}

describe("JsonStringScanner", () => {
  it("agrees by words and by the wide scan, with JSON.parse, however the text is damaged and cut", () => {
    fc.assert(
      fc.property(
        longText,
        fc.option(fc.tuple(fc.nat(), damage)),
        positions,
        fc.nat(7),
        (text, wrong, cutPositions, offset) => {
          const at = wrong === null ? 0 : wrong[0] % (text.length + 1);
          const body = wrong === null ? text : text.slice(0, at) + wrong[1] + text.slice(at);
          const bytes = utf8At(`"${body}"`, offset);
          const expected = outcomeOf(scanners.words(), bytes);
          expect(typeof expected === "number" && parses(bytes, expected)).toBe(typeof expected === "number");
          if (parses(bytes, bytes.length)) expect(expected).toBe(bytes.length);
          for (const scanner of Object.values(scanners)) {
            expect(outcomeOf(scanner(), bytes)).toBe(expected);
            expect(outcomeOf(scanner(), bytes, sortedWithin(bytes.length, cutPositions))).toBe(expected);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  it.each([1024, 16 * 1024])("goes on behind a piece of %i bytes, whatever lies across its end", (piece) => {
    const start = 300;
    for (const middle of ["\\\\", '\\"', "\\u00e9", "\\ud83d\\ude00", "\\x", "\\u00g9", "\\", "\n", '"']) {
      for (let shift = -14; shift <= 2; shift += 1) {
        const before = "x".repeat(start + piece * 5 + shift);
        const bytes = utf8At(`"${before}${middle}${"y".repeat(2000)}"`, 0);
        const expected = outcomeOf(scanners.words(), bytes);
        expect(outcomeOf(scanners["the wide scan"](), bytes)).toBe(expected);
      }
    }
  });

  it("finds an escape cut at every byte", () => {
    const bytes = utf8At(`"${"x".repeat(500)}\\u00e9\\\\\\"${"\\u12aF".repeat(30)}\\n${"\\".repeat(66)}"`, 0);
    for (let cut = 480; cut < bytes.length; cut += 1) {
      expect(outcomeOf(scanners["the wide scan"](), bytes, [cut])).toBe(bytes.length);
      expect(outcomeOf(scanners["the wide scan"](), bytes, [cut, cut + 1])).toBe(bytes.length);
    }
  });

  it.each(Array.from({ length: 256 }, (_, byte) => byte))("decides about \\ and byte %i as ever", (byte) => {
    for (const tail of ["", "12", "12aF"]) {
      const bytes = utf8At(`"${"x".repeat(700)}\\?${tail}${"z".repeat(300)}"`, 0);
      bytes[702] = byte;
      expect(outcomeOf(scanners["the wide scan"](), bytes)).toBe(outcomeOf(scanners.words(), bytes));
    }
  });

  it("takes runs of backslashes of every length at every place of a block", () => {
    for (let length = 0; length <= 70; length += 1) {
      for (let shift = 0; shift < 32; shift += 1) {
        const text = `"${"x".repeat(512 + shift)}${"\\".repeat(length)}"${"y".repeat(80)}"`;
        const bytes = utf8At(text, 0);
        const quote = 513 + shift + length;
        expect(outcomeOf(scanners["the wide scan"](), bytes)).toBe(
          length % 2 === 0 ? quote + 1 : text.length,
        );
      }
    }
  });
});
