import * as fc from "fast-check";
import { expect, it } from "vitest";
import { walkJsonElements, walkJsonMembers } from "./json-elements.ts";

function elementsOf(text: string): readonly unknown[] {
  const found: unknown[] = [];
  walkJsonElements(Buffer.from(text), ({ kind, bytes }) => {
    found.push([kind, JSON.parse(Buffer.from(bytes).toString())]);
  });
  return found;
}

function membersOf(text: string): readonly unknown[] {
  const found: unknown[] = [];
  walkJsonMembers(Buffer.from(text), (key, { kind, bytes }) => {
    found.push([key, kind, JSON.parse(Buffer.from(bytes).toString())]);
  });
  return found;
}

function kindOf(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
}

const spaces = fc.constantFrom(undefined, 1, "\t");
// Quotes, backslashes and brackets within strings are what a walk may stumble over.
const tricky = fc.string({
  unit: fc.constantFrom('"', "\\", "[", "]", "{", "}", ",", ":", "é", "日", "\n", "a"),
});
const values = fc.oneof(fc.jsonValue(), tricky, fc.array(tricky), fc.dictionary(tricky, fc.jsonValue()));

it("finds the elements that JSON.parse finds", () => {
  fc.assert(
    fc.property(fc.array(values), spaces, (list, space) => {
      const text = JSON.stringify(list, null, space);
      const expected = (JSON.parse(text) as unknown[]).map((value) => [kindOf(value), value]);
      expect(elementsOf(text)).toEqual(expected);
    }),
  );
});

it("finds the members that JSON.parse finds", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.oneof(fc.string(), tricky), values), spaces, (object, space) => {
      const text = JSON.stringify(object, null, space);
      const parsed = JSON.parse(text) as Readonly<Record<string, unknown>>;
      const byKey = (left: unknown, right: unknown): number => (String(left) < String(right) ? -1 : 1);
      const expected = Object.entries(parsed).map(([key, value]) => [key, kindOf(value), value]);
      expect(membersOf(text).toSorted(byKey)).toEqual(expected.toSorted(byKey));
    }),
  );
  expect(membersOf('{"a":1,"\\u0061":[2]}')).toEqual([
    ["a", "number", 1],
    ["a", "array", [2]],
  ]);
});

it("ends when told to, and has nothing to say about other values", () => {
  const seen: number[] = [];
  walkJsonElements(Buffer.from("[1,2,3]"), (_element, index) => {
    seen.push(index);
    return index < 1;
  });
  expect(seen).toEqual([0, 1]);
  expect([elementsOf('{"a":[1]}'), elementsOf('"[1]"'), membersOf("[1]"), membersOf("1")]).toEqual([
    [],
    [],
    [],
    [],
  ]);
});

it("comes to an end whatever the text", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.constantFrom("[", "{"), (bytes, first) => {
      const text = Buffer.concat([Buffer.from(first), bytes]);
      let visits = 0;
      const count = (): void => {
        visits += 1;
      };
      try {
        walkJsonElements(text, count);
        walkJsonMembers(text, count);
      } catch (error) {
        // A key that is no string.
        expect(error).toBeInstanceOf(SyntaxError);
      }
      expect(visits).toBeLessThanOrEqual(2 * text.length);
    }),
  );
});
