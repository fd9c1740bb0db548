import * as fc from "fast-check";
import { expect, it } from "vitest";
import { KeyWatch } from "./json-key-watch.ts";
import { scanJsonObject } from "./json-object-index.ts";
import { jsonObjectText } from "./json-text.fixture.ts";

/** Every key of a JSON text that counts, at any depth. */
function keysIn(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  const own = Array.isArray(value) ? [] : Object.keys(value);
  return [...own, ...Object.values(value).flatMap((each) => keysIn(each))];
}

const forbidden = new Set(["kv_transfer_params", "__proto__", "ключ", ""]);
const noted = new Set(["a", "seed", "__proto__", "é".repeat(40)]);
const watch = new KeyWatch({ forbidden, noted });

it("sees the keys it looks out for in any text, and no others", () => {
  fc.assert(
    fc.property(jsonObjectText, (text) => {
      const { forbiddenKey, notedKeys } = scanJsonObject(Buffer.from(text), { watch });
      const keys = new Set(keysIn(JSON.parse(text)));
      const mayBeThere = (key: string): boolean =>
        // A duplicate that does not count is seen, too.
        text.includes(JSON.stringify(key)) || text.includes("\\u");
      for (const key of keys) if (forbidden.has(key)) expect(forbiddenKey).toBeDefined();
      for (const key of keys) if (noted.has(key)) expect(notedKeys).toContain(key);
      if (forbiddenKey !== undefined)
        expect(forbidden.has(forbiddenKey) && mayBeThere(forbiddenKey)).toBe(true);
      for (const key of notedKeys) expect(noted.has(key) && mayBeThere(key)).toBe(true);
    }),
    { numRuns: 500 },
  );
});

it.each([
  ['{"kv\\u005ftransfer_params":1}', "kv_transfer_params", []],
  ['{"x":[{"\\u006bv_transfer_params":1}]}', "kv_transfer_params", []],
  ['{"x":[[{"":{}}]]}', "", []],
  ['{"__proto__":1}', "__proto__", ["__proto__"]],
  [`{"x":{"${"é".repeat(40)}":1}}`, undefined, ["é".repeat(40)]],
  ['{"x":"kv_transfer_params","y":["a"]}', undefined, []],
  ['{"kv_transfer_paramz":1,"b":2}', undefined, []],
])("%s", (text, forbiddenKey, notedKeys) => {
  const found = scanJsonObject(Buffer.from(text), { watch });
  expect([found.forbiddenKey, [...found.notedKeys]]).toEqual([forbiddenKey, notedKeys]);
});

it("looks out for nothing when told nothing", () => {
  const found = scanJsonObject(Buffer.from('{"a":1}'), { watch: new KeyWatch({}) });
  expect([found.forbiddenKey, found.notedKeys.size]).toEqual([undefined, 0]);
});
