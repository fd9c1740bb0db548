import * as fc from "fast-check";
import { expect, it } from "vitest";
import type { JsonElement } from "./json-element.ts";
import { scanJsonObject } from "./json-object-index.ts";

/** The value, within an object that was scanned. */
function element(text: string): JsonElement {
  return scanJsonObject(Buffer.from(`{"key": ${text} }`)).element("key")!;
}

function elementsOf(text: string): readonly unknown[] {
  const found: unknown[] = [];
  element(text).eachElement((each) => {
    found.push([each.kind, JSON.parse(Buffer.from(each.bytes).toString()), each.value()]);
  });
  return found;
}

function membersOf(text: string): readonly unknown[] {
  const found: unknown[] = [];
  element(text).eachMember((key, { kind, bytes }) => {
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
// Long ones are jumped over, not walked over.
const long = fc.array(tricky, { minLength: 40, maxLength: 60 }).map((parts) => parts.join("...."));
const values = fc.oneof(
  fc.jsonValue(),
  tricky,
  long,
  fc.array(fc.array(long)),
  fc.dictionary(tricky, fc.array(long)),
  fc.array(tricky),
  fc.dictionary(tricky, fc.jsonValue()),
);

it("finds the elements that JSON.parse finds", () => {
  fc.assert(
    fc.property(fc.array(values), spaces, (list, space) => {
      const text = JSON.stringify(list, null, space);
      const expected = (JSON.parse(text) as unknown[]).map((value) => [kindOf(value), value, value]);
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

it("finds the member that JSON.parse takes, however its key is written", () => {
  const names = fc.oneof(fc.constantFrom("a", "ab", "b", "", "é", "日本", '"', "\\", "__proto__"), tricky);
  const escaped = (name: string): string =>
    `"${name.replaceAll(/./gs, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`)}"`;
  const members = fc.array(fc.tuple(names, fc.boolean(), fc.jsonValue()), { maxLength: 6 });
  fc.assert(
    fc.property(members, names, (list, other) => {
      const found = new Map(
        list.map(([name, , value]) => [name, JSON.parse(JSON.stringify(value)) as unknown]),
      );
      const written = list.map(
        ([name, escape, value]) =>
          `${escape ? escaped(name) : JSON.stringify(name)} :${JSON.stringify(value)}`,
      );
      const object = element(`{${written.join(" , ")}}`);
      for (const name of [...found.keys(), other]) {
        expect(object.member(name)?.value()).toEqual(found.get(name));
      }
    }),
  );
  expect(element('{"a":{"b":{"c":7}}}').member("a")?.member("b")?.member("c")?.value()).toBe(7);
  expect([element("[1]").member("a"), element('"a"').member("a")]).toEqual([undefined, undefined]);
});

it("goes from one element or member to the next", () => {
  const object = element('{ "a" : [1 , {"b":2}, []] , "\\u0063" : {} }');
  const list = object.first();
  expect([list?.key, list?.next()?.key, list?.next()?.next()]).toEqual(["a", "c", undefined]);
  expect(list?.next()?.first()).toBeUndefined();
  const one = list?.first();
  expect([one?.key, one?.value(), one?.first(), one?.next()?.value()]).toEqual(["", 1, undefined, { b: 2 }]);
  expect([one?.next()?.next()?.first(), one?.next()?.next()?.next()]).toEqual([undefined, undefined]);
  expect([object.key, object.next()]).toEqual(["key", undefined]);
});

it("ends when told to, and has nothing to say about other values", () => {
  const seen: number[] = [];
  element("[1,2,3]").eachElement((_element, index) => {
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
