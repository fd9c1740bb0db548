import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { scanJsonObject } from "./json-object-index.ts";
import { type JsonEdits, spliceJsonObject } from "./json-splice.ts";
import { decodedKeys, jsonObjectText, utf8At } from "./json-text.fixture.ts";
import { RawJson } from "./raw-json.ts";

function spliceText(text: string, edits: JsonEdits): string {
  return join(spliceJsonObject(scanJsonObject(new TextEncoder().encode(text)), edits));
}

function join(parts: readonly Uint8Array[]): string {
  return Buffer.concat(parts).toString("utf8");
}

const editValue = fc.oneof(
  fc
    .jsonValue({ maxDepth: 1 })
    .map((value) => ({ value: value as unknown, plain: JSON.parse(JSON.stringify(value)) as unknown })),
  fc.constantFrom("9223372036854775807", '{"do_remote_prefill":true}', " null", '"ü"').map((text) => ({
    value: RawJson.fromText(text) as unknown,
    plain: JSON.parse(text) as unknown,
  })),
);
const editsArbitrary = fc.record({
  set: fc.array(fc.tuple(decodedKeys, editValue), { maxLength: 4 }),
  remove: fc.array(decodedKeys, { maxLength: 4 }),
});

describe("spliceJsonObject", () => {
  it("equals the object with the edits applied, and leaves every other member byte for byte", () => {
    fc.assert(
      fc.property(jsonObjectText, editsArbitrary, fc.nat(3), (text, { set, remove }, offset) => {
        const index = scanJsonObject(utf8At(text, offset));
        // A null prototype, so that the key "__proto__" is a key like any other.
        const edits = Object.create(null) as Record<string, unknown>;
        for (const [key, { value }] of set) edits[key] = value;
        const result = join(spliceJsonObject(index, { set: edits, remove }));

        const expected = new Map(Object.entries(JSON.parse(text) as object));
        for (const key of remove) expected.delete(key);
        for (const [key, { plain }] of set) expected.set(key, plain);
        expect(new Map(Object.entries(JSON.parse(result) as object))).toEqual(expected);

        const untouched = (of: ReturnType<typeof scanJsonObject>): string[] =>
          of.members
            .filter(({ key }) => !Object.hasOwn(edits, key) && !remove.includes(key))
            .map(({ memberStart, valueEnd }) => join([of.bytes.subarray(memberStart, valueEnd)]));
        const after = scanJsonObject(new TextEncoder().encode(result));
        expect(untouched(after)).toEqual(untouched(index));
        for (const [key] of set) expect(after.isDuplicate(key)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it("returns the original bytes themselves when nothing is edited", () => {
    const bytes = new TextEncoder().encode(' {"a" : 1}\n');
    expect(spliceJsonObject(scanJsonObject(bytes), {})).toEqual([bytes]);
    expect(spliceJsonObject(scanJsonObject(bytes), { set: {}, remove: [] })[0]).toBe(bytes);
  });

  it("is one piece when it is small", () => {
    const index = scanJsonObject(Buffer.from(`{"prompt":"${"x".repeat(1000)}","stream":true}`));
    const parts = spliceJsonObject(index, { set: { stream: false, n: 1 } });
    expect(parts).toEqual([Buffer.from(`{"prompt":"${"x".repeat(1000)}","stream":false,"n":1}`)]);
  });

  it("copies no byte of what is kept when it is large", () => {
    const bytes = new TextEncoder().encode(`{"prompt":"${"x".repeat(200_000)}","stream":true}`);
    const parts = spliceJsonObject(scanJsonObject(bytes), { set: { stream: false } });
    expect(parts[0]?.buffer).toBe(bytes.buffer);
    expect(parts.filter((part) => part.buffer !== bytes.buffer)).toHaveLength(1);
  });

  it.each<[string, JsonEdits, string]>([
    ["{}", { set: { a: 1 } }, '{"a":1}'],
    ["{ }", { set: { a: 1, b: [2] } }, '{"a":1,"b":[2]}'],
    ['{"a":1}', { remove: ["a"] }, "{}"],
    ['{ "a" : 1 , "b" : 2 }', { remove: ["a", "b"] }, "{}"],
    ['{ "a" : 1 , "b" : 2 }', { remove: ["a"] }, '{ "b" : 2 }'],
    ['{ "a" : 1 , "b" : 2 }', { remove: ["b"] }, '{ "a" : 1 }'],
    ['{"a":1,"b":2,"c":3}', { remove: ["b"] }, '{"a":1,"c":3}'],
    ['{"a":1,"b":2,"c":3}', { remove: ["a", "b"] }, '{"c":3}'],
    ['{"a":1,"b":2,"c":3}', { remove: ["b", "c"], set: { d: 4 } }, '{"a":1,"d":4}'],
    ['{"a":1,"b":2}', { remove: ["a", "b"], set: { c: 3 } }, '{"c":3}'],
    ['{"a":1,"x":0,"a":2,"y":0}', { set: { a: 3 } }, '{"x":0,"a":3,"y":0}'],
    ['{"a":1,"x":0,"\\u0061":2}', { remove: ["a"] }, '{"x":0}'],
    ['{"a":1}', { set: { a: 2 }, remove: ["a"] }, '{"a":2}'],
    ['{"seed":9007199254740993}', { set: { n: 1 } }, '{"seed":9007199254740993,"n":1}'],
    [
      "{}",
      { set: { a: RawJson.fromText("9223372036854775807"), b: 1, c: RawJson.fromText("1.0") } },
      '{"a":9223372036854775807,"b":1,"c":1.0}',
    ],
    ['{"a":1}', { remove: ["nothing"] }, '{"a":1}'],
    [" { } ", { remove: ["nothing"] }, " { } "],
    ['{"a":1,"x":0,"a":2 }', { remove: ["x"], set: { a: 3, b: 4, c: 5 } }, '{"a":3,"b":4,"c":5 }'],
    ["{}", { set: { 'quote"key': "line\n" } }, '{"quote\\"key":"line\\n"}'],
  ])("%s with %j is %s", (text, edits, expected) => {
    expect(spliceText(text, edits)).toBe(expected);
  });

  it("refuses what is not JSON", () => {
    expect(() => spliceText("{}", { set: { a: undefined } })).toThrow(
      'Cannot set "a": expected a JSON value, got undefined.',
    );
    expect(() => spliceText("{}", { set: { a: () => 1 } })).toThrow(TypeError);
    expect(() => spliceText("{}", { set: { a: 1n } })).toThrow(TypeError);
  });
});
