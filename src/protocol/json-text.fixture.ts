import * as fc from "fast-check";

const whitespace = fc.constantFrom("", "", "", " ", "\n", "\t ", "\r\n  ");

const stringPiece = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      '\\"',
      "\\\\",
      "\\/",
      "\\b",
      "\\f",
      "\\n",
      "\\r",
      "\\t",
      "\\u005f",
      "\\u005F",
      "\\ud83d\\ude00",
      "\\ud800",
      "\\u0000",
    ),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom("a", "_", " ", "plain text ", "\u007f", "é", "漢字", "😀", "\u2028", "\ufeff"),
  },
  { weight: 1, arbitrary: fc.constantFrom("{", "}", "[", "]", ":", ",", "x".repeat(40), "漢".repeat(30)) },
);

const jsonString = fc
  .oneof(
    { weight: 4, arbitrary: fc.array(stringPiece, { maxLength: 4 }) },
    { weight: 1, arbitrary: fc.array(stringPiece, { maxLength: 60 }) },
  )
  .map((pieces) => `"${pieces.join("")}"`);

const scalar = fc.oneof(
  jsonString,
  fc.constantFrom(
    "true",
    "false",
    "null",
    "0",
    "-0",
    "1e5",
    "1E-2",
    "-1.50e+3",
    "9007199254740993",
    "9223372036854775807",
    "1.0",
  ),
  fc.integer().map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
);

const keys = [
  "a",
  "b",
  "seed",
  "kv_transfer_params",
  "kv\\u005ftransfer_params",
  "\\u0061",
  "ключ",
  "__proto__",
  "",
  "max_tokens",
];

/** Keys as they are once decoded, to edit by. */
export const decodedKeys = fc.constantFrom(
  ...keys.map((key) => JSON.parse(`"${key}"`) as string),
  "new",
  "новый",
);

const keyText = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...keys).map((key) => `"${key}"`) },
  { weight: 1, arbitrary: jsonString },
);

const list = (items: fc.Arbitrary<string>, open: string, close: string): fc.Arbitrary<string> =>
  fc
    .tuple(fc.array(fc.tuple(whitespace, items, whitespace), { maxLength: 6 }), whitespace)
    .map(
      ([entries, gap]) =>
        open + (entries.length === 0 ? gap : entries.map((entry) => entry.join("")).join(",")) + close,
    );

const { object } = fc.letrec<{ value: string; object: string; array: string }>((tie) => ({
  value: fc.oneof({ depthSize: "small", withCrossShrink: true }, scalar, tie("object"), tie("array")),
  object: list(
    fc
      .tuple(keyText, whitespace, whitespace, tie("value"))
      .map(([key, before, after, value]) => `${key}${before}:${after}${value}`),
    "{",
    "}",
  ),
  array: list(tie("value"), "[", "]"),
}));

/** Text of a JSON object with every freedom the grammar gives: whitespace, escapes, duplicate keys, number formats. */
export const jsonObjectText: fc.Arbitrary<string> = fc
  .tuple(whitespace, object, whitespace)
  .map((parts) => parts.join(""));

/** UTF-8 of the text, `offset` bytes into a larger buffer whose other bytes would end any string. */
export function utf8At(text: string, offset: number): Uint8Array {
  const encoded = new TextEncoder().encode(text);
  const buffer = new Uint8Array(offset + encoded.length + 9).fill(0x22);
  buffer.set(encoded, offset);
  return buffer.subarray(offset, offset + encoded.length);
}
