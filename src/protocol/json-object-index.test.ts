import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KeyWatch } from "./json-key-watch.ts";
import { type JsonObjectIndex, JsonObjectScan, scanJsonObject } from "./json-object-index.ts";
import { JsonScanError } from "./json-scan-error.ts";
import { jsonObjectText, utf8At } from "./json-text.fixture.ts";

const scanText = (text: string) => scanJsonObject(new TextEncoder().encode(text));

/** What JSON.parse makes of the bytes when they are an object; undefined when it refuses them. */
function parseObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(
      new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes),
    );
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** What a scan makes of the bytes: all it found, or its error. */
function outcomeOf(scan: () => JsonObjectIndex): unknown {
  try {
    const { members, spans, openOffset, closeOffset, forbiddenKey, notedKeys } = scan();
    return { members, spans, openOffset, closeOffset, forbiddenKey, notedKeys };
  } catch (error) {
    expect(error).toBeInstanceOf(JsonScanError);
    return (error as Error).message;
  }
}

/** Scans as if the bytes came in pieces that end at `cuts`, each time in other memory. */
function scanInPieces(bytes: Uint8Array, cuts: readonly number[], watch: KeyWatch): unknown {
  return outcomeOf(() => {
    const scan = new JsonObjectScan({ watch });
    for (const [index, cut] of cuts.entries()) {
      const memory = new Uint8Array(bytes.length + index).fill(0x22);
      memory.set(bytes.subarray(0, cut), index);
      scan.advance(memory.subarray(index, index + cut));
    }
    return scan.finish(bytes);
  });
}

describe("JsonObjectScan", () => {
  const watch = new KeyWatch({
    forbidden: new Set(["a", "kv_transfer_params", "ключ"]),
    noted: new Set(["b", "", "role"]),
  });
  const whole = (bytes: Uint8Array) => outcomeOf(() => scanJsonObject(bytes, { watch }));

  it("finds the same in pieces as in one go, wherever the text is cut and whatever is wrong with it", () => {
    const damage = fc.record({
      at: fc.nat(),
      drop: fc.nat(2),
      insert: fc.string({ unit: "binary", maxLength: 2 }),
    });
    fc.assert(
      fc.property(
        jsonObjectText,
        fc.option(damage),
        fc.array(fc.nat(), { maxLength: 5 }),
        (text, mutation, positions) => {
          let mutated = text;
          if (mutation !== null) {
            const at = mutation.at % (text.length + 1);
            mutated = text.slice(0, at) + mutation.insert + text.slice(at + mutation.drop);
          }
          const bytes = utf8At(mutated, 0);
          const cuts = positions
            .map((position) => position % (bytes.length + 1))
            .toSorted((left, right) => left - right);
          expect(scanInPieces(bytes, cuts, watch)).toEqual(whole(bytes));
        },
      ),
      { numRuns: 3000 },
    );
  });

  it.each([
    String.raw`{"a\"b":"c\u00e9\\","n":-12.5e+3,"t":true,"f":[false,null,{}],"s":"${'x"y\n '.repeat(60)}"}`,
    `{"m":[{"role":"user","content":"${"日本 plain text of some length ".repeat(12)}"}],"ключ":0} `,
    `{"a":"${"x".repeat(300)}\\x"}`,
    `{"${"a".repeat(70)}":[["${"b".repeat(70)}"],{"\\u0061":"","b":"${"é".repeat(40)}\\\\"}]}`,
    '[{"a":1}]',
    '{"a":1}}',
    '{"a":01}',
    '{"a":tru}',
    '{"a":{"b":[1,2,{"c":3]}}}',
    `{"a":"${"x".repeat(90)}`,
  ])("finds the same in %j, cut at every byte", (text) => {
    const bytes = new TextEncoder().encode(text);
    const expected = whole(bytes);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      expect(scanInPieces(bytes, [cut], watch)).toEqual(expected);
    }
    const every = Array.from({ length: bytes.length }, (_, index) => index);
    expect(scanInPieces(bytes, every, watch)).toEqual(expected);
  });

  it("does not look through a number again with each piece that brings more of it", () => {
    let reads = 0;
    const counted = (bytes: Uint8Array): Uint8Array =>
      new Proxy(bytes, {
        get(target, key) {
          if (typeof key === "string" && /^\d+$/.test(key)) reads += 1;
          const value: unknown = Reflect.get(target, key, target);
          return typeof value === "function" ? (value.bind(target) as unknown) : value;
        },
      });
    const bytes = Buffer.from(`{"a":${"1".repeat(2000)}}`);
    const scan = new JsonObjectScan();
    for (let size = 1; size < bytes.length; size += 1) scan.advance(counted(bytes.subarray(0, size)));
    expect(scan.finish(counted(bytes)).raw("a")?.bytes).toHaveLength(2000);
    expect(reads).toBeLessThan(bytes.length * 20);
  });

  it("remembers few ends, however deep long values nest, and walks over them all the same", () => {
    const long = `${"[".repeat(100)}"${"x".repeat(300)}"${"]".repeat(100)}`;
    const index = scanJsonObject(Buffer.from(`{"a":[${long},7]}`));
    expect(index.spans.size).toBeLessThan(5);
    let depth = 0;
    for (let element = index.element("a"); element?.kind === "array"; element = element.first()) depth += 1;
    expect(depth).toBe(101);
    expect(index.element("a")?.first()?.next()?.value()).toBe(7);
    expect(index.element("a")?.first()?.first()?.first()?.first()?.first()?.bytes).toHaveLength(302 + 2 * 96);
  });
});

describe("scanJsonObject", () => {
  it("agrees with JSON.parse on keys, values and kinds of any object, wherever it lies in memory", () => {
    fc.assert(
      fc.property(jsonObjectText, fc.nat(7), (text, offset) => {
        const bytes = utf8At(text, offset);
        const index = scanJsonObject(bytes);
        const expected = JSON.parse(text) as Record<string, unknown>;
        expect(new Set(index.members.map((member) => member.key))).toEqual(new Set(Object.keys(expected)));
        for (const [key, value] of Object.entries(expected)) {
          expect(index.has(key)).toBe(true);
          expect(index.value(key)).toEqual(value);
          expect(index.raw(key)?.value).toEqual(value);
          expect(index.kind(key)).toBe(
            value === null ? "null" : Array.isArray(value) ? "array" : typeof value,
          );
          expect(index.isDuplicate(key)).toBe(
            index.members.filter((member) => member.key === key).length > 1,
          );
        }
      }),
      { numRuns: 500 },
    );
  });

  it("accepts exactly what JSON.parse accepts, and throws nothing but JsonScanError, on mutated documents", () => {
    const mutation = fc.record({
      at: fc.nat(),
      drop: fc.nat(2),
      insert: fc.oneof(
        fc.constantFrom(
          "",
          '"',
          "\\",
          "{",
          "}",
          "[",
          "]",
          ",",
          ":",
          "0",
          "-",
          ".",
          "e",
          "\u0000",
          "\u001f",
          " ",
          "\\u12",
          "nul",
          "NaN",
          "\ufeff",
        ),
        fc.string({ unit: "binary", maxLength: 3 }),
      ),
    });
    fc.assert(
      fc.property(
        jsonObjectText,
        fc.array(mutation, { minLength: 1, maxLength: 3 }),
        fc.nat(7),
        (text, mutations, offset) => {
          let mutated = text;
          for (const { at, drop, insert } of mutations) {
            const position = at % (mutated.length + 1);
            mutated = mutated.slice(0, position) + insert + mutated.slice(position + drop);
          }
          const bytes = utf8At(mutated, offset);
          const expected = parseObject(bytes);
          let accepted = true;
          try {
            scanJsonObject(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(JsonScanError);
            accepted = false;
          }
          expect(accepted).toBe(expected !== undefined);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it("throws nothing but JsonScanError on any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        try {
          scanJsonObject(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(JsonScanError);
        }
      }),
    );
  });

  it.each([
    ["", "the end of input"],
    ["[]", '"["'],
    ["null", '"n"'],
    ["\ufeff{}", "byte 0xef"],
    ["{} x", '"x"'],
    ['{"a":1,}', '"}"'],
    ['{,"a":1}', '","'],
    ['{"a":NaN}', '"N"'],
    ['{"a":-Infinity}', '"I"'],
    ['{"a":01}', '"1"'],
    ['{"a":1.}', '"}"'],
    ['{"a":.5}', '"."'],
    ['{"a":1e+}', '"}"'],
    ['{"a":+1}', '"+"'],
    ['{"a":[1,]}', '"]"'],
    ['{"a":{"b":1]}', '"]"'],
    ['{"a":"\\x"}', '"x"'],
    ['{"a":"\\u00g0"}', '"g"'],
    ['{"a":"\n"}', "byte 0x0a"],
    [`{"a":"${"x".repeat(100)}\u0001"}`, "byte 0x01"],
    [`{"a":"${"x".repeat(100)}`, "the end of input"],
    ["{'a':1}", '"\'"'],
    ['{"a" 1}', '"1"'],
    ['{"a":tru}', '"}"'],
    ['{"a":"\\', "the end of input"],
  ])("refuses %j and says what it got", (text, got) => {
    expect(() => scanText(text)).toThrow(JsonScanError);
    expect(() => scanText(text)).toThrow(`got ${got}`);
  });

  it("names the offset of the first byte at fault", () => {
    const error = captureError(() => scanText('{"ключ":1 "b":2}'));
    expect((error as JsonScanError).offset).toBe(14);
    expect((error as Error).message).toBe('Expected "," or "}", got "\\"" at byte 14');
  });

  it("sees an escaped key as the engine does", () => {
    const index = scanText('{"kv\\u005ftransfer_params":{"a":1},"kv_transfer_params":null}');
    expect(index.has("kv_transfer_params")).toBe(true);
    expect(index.isDuplicate("kv_transfer_params")).toBe(true);
    expect(index.value("kv_transfer_params")).toBeNull();
  });

  it("takes the last duplicate and keeps integers that JavaScript can't hold", () => {
    const index = scanText('{"seed":1,"seed":9223372036854775807}');
    expect(index.raw("seed")?.toString()).toBe("9223372036854775807");
    expect(index.members.map((member) => member.key)).toEqual(["seed", "seed"]);
  });

  it.each(
    [
      "0",
      "-0",
      "-1",
      "12345",
      "999999999999999",
      "-999999999999999",
      "1234567890123456",
      "1e2",
      "1.5",
      "-0.0",
    ].map((text) => [text]),
  )("reads the number %s as JSON.parse does", (text) => {
    expect(Object.is(scanText(`{"a": ${text} }`).value("a"), JSON.parse(text))).toBe(true);
  });

  it("allows a lone surrogate escape, as Python does", () => {
    expect(scanText('{"\\ud800":"\\udfff"}').value("\ud800")).toBe("\udfff");
  });

  it("answers for keys that are not there, also those of Object.prototype", () => {
    const index = scanText('{"a":1}');
    for (const key of ["b", "__proto__", "constructor", "toString"]) {
      expect(index.has(key)).toBe(false);
      expect(index.kind(key)).toBeUndefined();
      expect(index.value(key)).toBeUndefined();
      expect(index.raw(key)).toBeUndefined();
      expect(index.isDuplicate(key)).toBe(false);
    }
    expect(scanText('{"__proto__":{"polluted":1}}').value("__proto__")).toEqual({ polluted: 1 });
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it("finds members among many", () => {
    const members = Array.from({ length: 500 }, (_, index) => `"k${index}":${index}`);
    const index = scanText(`{${[...members, '"k7":"last"'].join(",")}}`);
    expect(index.value("k499")).toBe(499);
    expect(index.value("k7")).toBe("last");
    expect(index.isDuplicate("k7")).toBe(true);
    expect(index.isDuplicate("k8")).toBe(false);
  });

  it("limits depth and members", () => {
    const nested = (depth: number) => `{"a":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`;
    expect(scanText(nested(128)).kind("a")).toBe("array");
    expect(() => scanText(nested(129))).toThrow("at most 128 nested");
    expect(() => scanJsonObject(new TextEncoder().encode('{"a":{}}'), { maxDepth: 1 })).toThrow(
      "at most 1 nested",
    );
    expect(() => scanText(`{"a":${"[".repeat(5_000_000)}`)).toThrow(JsonScanError);
    const text = new TextEncoder().encode('{"a":1,"b":2}');
    expect(scanJsonObject(text, { maxMembers: 2 }).members).toHaveLength(2);
    expect(() => scanJsonObject(text, { maxMembers: 1 })).toThrow("at most 1 members");
  });
});

function captureError(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}
