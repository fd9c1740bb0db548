import * as fc from "fast-check";
import { expect, it } from "vitest";
import { walkJsonElements } from "./json-elements.ts";

function elementsOf(text: string): readonly unknown[] {
  const found: unknown[] = [];
  walkJsonElements(Buffer.from(text), ({ kind, bytes }) => {
    found.push([kind, JSON.parse(Buffer.from(bytes).toString())]);
  });
  return found;
}

function kindOf(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
}

it("finds the elements that JSON.parse finds", () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), fc.constantFrom(undefined, 1, "\t"), (values, space) => {
      const text = JSON.stringify(values, null, space);
      const expected = (JSON.parse(text) as unknown[]).map((value) => [kindOf(value), value]);
      expect(elementsOf(text)).toEqual(expected);
    }),
  );
});

it("ends when told to, and has nothing to say about what is no array", () => {
  const seen: number[] = [];
  walkJsonElements(Buffer.from("[1,2,3]"), (_element, index) => {
    seen.push(index);
    return index < 1;
  });
  expect(seen).toEqual([0, 1]);
  expect(elementsOf('{"a":[1]}')).toEqual([]);
});
