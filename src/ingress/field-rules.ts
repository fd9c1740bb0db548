import { RequestError } from "../errors/request-error.ts";
import type { JsonElement } from "../protocol/json-element.ts";
import { type JsonKind, jsonKindOf } from "../protocol/json-kind.ts";
import type { JsonObjectIndex } from "../protocol/json-object-index.ts";

/** What is wrong with a request. Says what was expected and what kind of thing came, never what it was. */
export interface FieldProblem {
  /** Path of the field, for example `stream_options.include_usage`. */
  readonly param: string | null;
  readonly text: string;
}

/** How one field must be. Its kind is told by its first byte; few need a second look. */
export interface FieldRule {
  readonly kinds: readonly JsonKind[];
  /** What the kinds are called. */
  readonly expected: string;
  /** Looks into a field of one of the kinds that is not null. */
  readonly inner?: ((field: JsonElement) => Faults) | undefined;
}

/** Rules by field name; fields without a rule are the engine's to judge. */
export type FieldRules = Readonly<Record<string, FieldRule>>;

/** Groups of fields of which one each must be there. */
export type RequiredFields = readonly (readonly string[])[];

/** What is wrong within a field; undefined when nothing is. */
type Faults = readonly Fault[] | undefined;

interface Fault {
  /** From the field that was looked into to the one at fault. Paths are made for faults only. */
  readonly path: string;
  readonly expected: string;
  readonly received: string;
}

const mostReported = 20;

/** A field of one of these kinds; `inner` looks into it when it is. */
export function ofKind(kinds: readonly JsonKind[], inner?: FieldRule["inner"]): FieldRule {
  return { kinds, expected: kinds.join(" or "), inner };
}

/** The same, or null. */
export function optional(rule: FieldRule): FieldRule {
  return { kinds: [...rule.kinds, "null"], expected: rule.expected, inner: rule.inner };
}

/** A number without a fraction, of at least `minimum`. */
export function integer(minimum = -Infinity): FieldRule {
  const expected = minimum === -Infinity ? "an integer" : `an integer of ${minimum} or more`;
  return ofKind(["number"], (field) => {
    const value = field.value() as number;
    if (!Number.isInteger(value)) return fault(expected, "a number with a fraction");
    return value >= minimum ? undefined : fault(expected, "a smaller one");
  });
}

/** One of these words. */
export function word(...words: readonly string[]): FieldRule {
  const expected = `one of ${words.map((each) => `"${each}"`).join(", ")}`;
  return ofKind(["string"], (field) =>
    words.includes(field.value() as string) ? undefined : fault(expected, "another string"),
  );
}

/** An object, or what another rule says. */
export function objectOr(rule: FieldRule): FieldRule {
  return {
    kinds: [...rule.kinds, "object"],
    expected: rule.expected,
    inner: (field) => (field.kind === "object" ? undefined : rule.inner?.(field)),
  };
}

/** An object whose named fields follow these rules. */
export function objectWith(fields: FieldRules): FieldRule {
  const rules = byName(fields);
  return ofKind(["object"], (field) => {
    let faults: Fault[] | undefined;
    for (let member = field.first(); member !== undefined; member = member.next()) {
      const rule = rules.get(member.key);
      const found = rule === undefined ? undefined : faultsOf(rule, member);
      if (found !== undefined) (faults ??= []).push(...within(`.${member.key}`, found));
    }
    return faults;
  });
}

/** An object whose values all follow one rule; the first that does not is reported. */
export function objectOf(rule: FieldRule): FieldRule {
  return ofKind(["object"], (field) => {
    for (let member = field.first(); member !== undefined; member = member.next()) {
      const faults = faultsOf(rule, member);
      // The key is the client's own text: the object is named instead.
      if (faults !== undefined) return faults;
    }
    return undefined;
  });
}

/** An array whose elements follow a rule; the first that does not is reported. */
export function arrayOf(rule: FieldRule): FieldRule {
  return ofKind(["array"], (field) => {
    let index = 0;
    for (let element = field.first(); element !== undefined; element = element.next()) {
      const faults = faultsOf(rule, element);
      if (faults !== undefined) return within(`[${index}]`, faults);
      index += 1;
    }
    return undefined;
  });
}

const tokenIds = arrayOf(integer(0));

/** Lists of one kind, by what their first element is; any other list is taken for token ids. */
const listsByKind: ReadonlyMap<JsonKind, FieldRule> = new Map([
  ["string", listOf("string")],
  ["object", listOf("object")],
  ["array", listOf("array", tokenIds)],
  ["number", listOf("number", integer(0))],
]);

function listOf(kind: JsonKind, element?: FieldRule): FieldRule {
  return arrayOf({ kinds: [kind], expected: `${kind} as the elements before`, inner: element?.inner });
}

/** A text, texts, token ids, or lists of token ids. */
export const textsOrTokens: FieldRule = {
  kinds: ["string", "array"],
  expected: "a string or array",
  inner: (field) => {
    const first = field.first();
    return first === undefined ? undefined : (listsByKind.get(first.kind) ?? tokenIds).inner?.(field);
  },
};

function needsNoLook(rule: FieldRule, kind: JsonKind): boolean {
  return rule.kinds.includes(kind) && (rule.inner === undefined || kind === "null");
}

function faultsOf(rule: FieldRule, field: JsonElement): Faults {
  const { kind } = field;
  if (needsNoLook(rule, kind)) return undefined;
  return rule.kinds.includes(kind) ? rule.inner?.(field) : fault(rule.expected, kind);
}

function fault(expected: string, received: string): readonly Fault[] {
  return [{ path: "", expected, received }];
}

function within(step: string, faults: readonly Fault[]): readonly Fault[] {
  return faults.map(({ path, expected, received }) => ({ path: step + path, expected, received }));
}

/**
 * Checks a body against its route's rules.
 *
 * @throws RequestError 400 that names every problem
 */
export function checkFields(body: JsonObjectIndex, fields: FieldRules, required: RequiredFields): void {
  const rules = byName(fields);
  let problems: FieldProblem[] | undefined;
  for (const group of required) {
    if (!hasOneOf(body, group)) (problems ??= []).push(missing(group));
  }
  for (const { key, valueStart } of body.members) {
    const rule = rules.get(key);
    if (rule === undefined) continue;
    if (body.isDuplicate(key)) {
      // Engines differ in which one they take.
      if (problems?.some(({ param }) => param === key) !== true) (problems ??= []).push(duplicate(key));
      continue;
    }
    const kind = jsonKindOf(body.bytes[valueStart] as number);
    if (needsNoLook(rule, kind)) continue;
    for (const { path, expected, received } of faultsOf(rule, body.element(key)!) ?? []) {
      (problems ??= []).push(expectation(key + path, expected, received));
    }
  }
  if (problems !== undefined) throw invalidRequest(problems);
}

const maps = new WeakMap<FieldRules, ReadonlyMap<string, FieldRule>>();

/** The names of fields come from clients: a Map has none of its own. */
function byName(rules: FieldRules): ReadonlyMap<string, FieldRule> {
  let map = maps.get(rules);
  if (map === undefined) {
    map = new Map(Object.entries(rules));
    maps.set(rules, map);
  }
  return map;
}

function hasOneOf(body: JsonObjectIndex, names: readonly string[]): boolean {
  for (const name of names) if (body.has(name)) return true;
  return false;
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

function duplicate(name: string): FieldProblem {
  return { param: name, text: `\`${name}\` is there more than once` };
}

/** A field is not what it must be. */
export function expectation(path: string, expected: string, received: string): FieldProblem {
  return { param: path, text: `\`${path}\` must be ${expected}, got ${received}` };
}
