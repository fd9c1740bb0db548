import { RequestError } from "../errors/request-error.ts";
import type { JsonElement } from "../protocol/json-element.ts";
import type { JsonKind } from "../protocol/json-kind.ts";
import type { JsonObjectIndex } from "../protocol/json-object-index.ts";

/** What is wrong with a request. Says what was expected and what kind of thing came, never what it was. */
export interface FieldProblem {
  /** Path of the field, for example `stream_options.include_usage`. */
  readonly param: string | null;
  readonly text: string;
}

/** Checks one field. */
export type FieldRule = (field: JsonElement, path: string) => readonly FieldProblem[];

/** Rules by field name; fields without a rule are the engine's to judge. */
export type FieldRules = Readonly<Record<string, FieldRule>>;

/** Groups of fields of which one each must be there. */
export type RequiredFields = readonly (readonly string[])[];

const mostReported = 20;
const fine: readonly FieldProblem[] = [];

/** A field of one of these kinds; `inner` looks into it when it is. */
export function ofKind(kinds: readonly JsonKind[], inner?: FieldRule): FieldRule {
  const expected = kinds.join(" or ");
  return (field, path) => {
    if (!kinds.includes(field.kind)) return [expectation(path, expected, field.kind)];
    return inner === undefined ? fine : inner(field, path);
  };
}

/** The same, or null. */
export function optional(rule: FieldRule): FieldRule {
  return (field, path) => (field.kind === "null" ? fine : rule(field, path));
}

/** A number without a fraction, of at least `minimum`. */
export function integer(minimum = -Infinity): FieldRule {
  const expected = minimum === -Infinity ? "an integer" : `an integer of ${minimum} or more`;
  return ofKind(["number"], (field, path) => {
    const value = field.value() as number;
    if (Number.isInteger(value) && value >= minimum) return fine;
    return [
      expectation(path, expected, Number.isInteger(value) ? "a smaller one" : "a number with a fraction"),
    ];
  });
}

/** One of these words. */
export function word(...words: readonly string[]): FieldRule {
  const expected = words.map((each) => `"${each}"`).join(", ");
  return ofKind(["string"], (field, path) =>
    words.includes(field.value() as string)
      ? fine
      : [expectation(path, `one of ${expected}`, "another string")],
  );
}

/** An object whose named fields follow these rules. */
export function objectWith(rules: FieldRules): FieldRule {
  return ofKind(["object"], (field, path) => {
    let problems = fine;
    field.eachMember((key, member) => {
      if (!Object.hasOwn(rules, key)) return;
      const found = rules[key]!(member, `${path}.${key}`);
      if (found.length > 0) problems = [...problems, ...found];
    });
    return problems;
  });
}

/** An object whose values all follow one rule; the first that does not is reported. */
export function objectOf(rule: FieldRule): FieldRule {
  return ofKind(["object"], (field, path) => {
    let problems = fine;
    field.eachMember((_key, member) => {
      // The key is the client's own text: the object is named instead.
      if (problems.length === 0) problems = rule(member, path);
    });
    return problems;
  });
}

/** An array whose elements follow a rule; the first that does not is reported. */
export function arrayOf(rule: FieldRule): FieldRule {
  return ofKind(["array"], (field, path) => firstProblem(field, rule, path));
}

/** A text, texts, token ids, or lists of token ids. */
export const textsOrTokens: FieldRule = (field, path) => {
  if (field.kind === "string") return fine;
  if (field.kind !== "array") return [expectation(path, "a string or array", field.kind)];
  let first: JsonKind | undefined;
  return firstProblem(
    field,
    (element, elementPath) => {
      first ??= element.kind;
      if (element.kind !== first)
        return [expectation(elementPath, `${first} as the elements before`, element.kind)];
      if (first === "string" || first === "object") return fine;
      return first === "array" ? tokenIds(element, elementPath) : integer(0)(element, elementPath);
    },
    path,
  );
};

const tokenIds: FieldRule = arrayOf(integer(0));

/**
 * Checks a body against its route's rules.
 *
 * @throws RequestError 400 that names every problem
 */
export function checkFields(body: JsonObjectIndex, rules: FieldRules, required: RequiredFields): void {
  const problems: FieldProblem[] = [];
  for (const group of required) {
    if (!group.some((name) => body.has(name))) problems.push(missing(group));
  }
  for (const { key } of body.members) {
    const rule = Object.hasOwn(rules, key) ? rules[key] : undefined;
    if (rule === undefined) continue;
    if (body.isDuplicate(key)) {
      // Engines differ in which one they take.
      if (!problems.some(({ param }) => param === key)) {
        problems.push({ param: key, text: `\`${key}\` is there more than once` });
      }
      continue;
    }
    problems.push(...rule(body.element(key)!, key));
  }
  if (problems.length > 0) throw invalidRequest(problems);
}

/** The answer to a request with these problems. */
export function invalidRequest(problems: readonly FieldProblem[]): RequestError {
  const texts = problems.slice(0, mostReported).map(({ text }) => text);
  if (problems.length > mostReported) texts.push(`and ${problems.length - mostReported} more`);
  return new RequestError(`Invalid request format: ${texts.join("; ")}.`, {
    code: "invalid_parameter",
    param: problems[0]!.param,
  });
}

/** A required field is not there. */
export function missing(group: readonly string[]): FieldProblem {
  return { param: group[0]!, text: `${group.map((name) => `\`${name}\``).join(" or ")} is required` };
}

/** A field is not what it must be. */
export function expectation(path: string, expected: string, received: string): FieldProblem {
  return { param: path, text: `\`${path}\` must be ${expected}, got ${received}` };
}

function firstProblem(array: JsonElement, rule: FieldRule, path: string): readonly FieldProblem[] {
  let problems = fine;
  array.eachElement((element, index) => {
    problems = rule(element, `${path}[${index}]`);
    return problems.length === 0;
  });
  return problems;
}
