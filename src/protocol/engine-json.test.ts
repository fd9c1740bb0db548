import * as fc from "fast-check";
import { expect, it } from "vitest";
import { asJsonObject, parseEngineJson } from "./engine-json.ts";

it("is JSON.parse where that succeeds", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(parseEngineJson(text)).toEqual(JSON.parse(text));
    }),
  );
});

it("reads Python's bare words as null, but not within strings", () => {
  expect(parseEngineJson('{"a":NaN,"b":[-Infinity,Infinity],"c":"NaN \\" Infinity","NaN":1}')).toEqual({
    a: null,
    b: [null, null],
    c: 'NaN " Infinity',
    NaN: 1,
  });
});

it.each(["", "{", '{"a":NaNs}', '{"a":"NaN', '{"a":NaN,"\\', "Infinity-"])("refuses %j", (text) => {
  expect(() => parseEngineJson(text)).toThrow(SyntaxError);
});

it("knows an object from other values", () => {
  expect(asJsonObject({ a: 1 })).toEqual({ a: 1 });
  for (const value of [null, [], "a", 1, undefined]) expect(asJsonObject(value)).toBeUndefined();
});
