import { toSnakeCase } from "../../src/config/casing.ts";
import { ConfigurationError, type ConfigIssue } from "../../src/errors/configuration-error.ts";

/** One problem as Ray's recording has it. */
export interface RecordedProblem {
  readonly loc: readonly (string | number)[];
  readonly type?: string;
  readonly message_contains: readonly string[];
  readonly cause?: RecordedError;
}

/** An error as Ray's recording has it. */
export interface RecordedError {
  readonly ok?: false;
  readonly error_class: string;
  readonly loc: readonly (string | number)[];
  readonly message_contains: readonly string[];
  readonly errors?: readonly RecordedProblem[];
}

/** What a configuration call came to. */
export type Outcome<T> = { readonly value: T } | { readonly error: ConfigurationError };

/** Runs something that may refuse its input; any other error is a bug and goes through. */
export function attempt<T>(run: () => T): Outcome<T> {
  try {
    return { value: run() };
  } catch (error) {
    if (error instanceof ConfigurationError) return { error };
    throw error;
  }
}

/** The value of a call that was expected to succeed. */
export function accepted<T>(outcome: Outcome<T>): T {
  if ("error" in outcome) throw new Error(`expected it to be accepted, but: ${outcome.error.message}`);
  return outcome.value;
}

/** The error of a call that was expected to be refused, its message matching. */
export function refused(outcome: Outcome<unknown>, pattern: RegExp): void {
  if (!("error" in outcome)) throw new Error("expected it to be refused");
  if (!pattern.test(outcome.error.message)) {
    throw new Error(`expected a message like ${String(pattern)}, got: ${outcome.error.message}`);
  }
}

/** Compares a refusal with a recorded error: where, what kind, and every word that Ray wrote. */
export function sameError(outcome: Outcome<unknown>, recorded: RecordedError): void {
  if (!("error" in outcome)) throw new Error(`expected ${JSON.stringify(recorded)}, but it was accepted`);
  const { error } = outcome;
  const expected = flatten(recorded);
  if (expected.length === 0) {
    for (const words of recorded.message_contains) {
      if (!error.message.includes(words)) throw new Error(`expected "${words}" in: ${error.message}`);
    }
    return;
  }
  const unmatched = new Set(error.issues);
  for (const alternatives of expected) {
    const found = [...unmatched].find((issue) => alternatives.some((problem) => matches(issue, problem)));
    if (found === undefined) {
      throw new Error(`expected one of ${JSON.stringify(alternatives)}, got ${JSON.stringify(error.issues)}`);
    }
    unmatched.delete(found);
  }
  if (unmatched.size > 0) throw new Error(`not expected: ${JSON.stringify([...unmatched])}`);
}

interface FlatProblem {
  readonly loc: readonly (string | number)[];
  readonly type: string | undefined;
  readonly words: readonly string[];
}

/** A union member's name in a location, a detail of pydantic: `str`, `dict[str,any]`, `CloudMirrorConfig`. */
const unionMember = /^(str|int|float|bool|cpu|gpu|tpu|.*\[.*\].*|[A-Z][a-z]+([A-Z][A-Za-z]*)+)$/;

/** Every recorded problem, causes unfolded; the members of one union are alternatives. */
function flatten(recorded: RecordedError): readonly (readonly FlatProblem[])[] {
  const groups = new Map<string, FlatProblem[]>();
  for (const [index, problem] of unfold(recorded).entries()) {
    const memberAt = problem.loc.findIndex((part) => typeof part === "string" && unionMember.test(part));
    const key = memberAt < 0 ? `#${index}` : JSON.stringify(problem.loc.slice(0, memberAt));
    const loc = problem.loc.filter((_, position) => position !== memberAt);
    groups.set(key, [...(groups.get(key) ?? []), { ...problem, loc }]);
  }
  return [...groups.values()];
}

function unfold(recorded: RecordedError): readonly FlatProblem[] {
  return (recorded.errors ?? []).flatMap((problem): readonly FlatProblem[] => {
    const { loc, type, message_contains: words, cause } = problem;
    const inner = cause === undefined ? [] : unfold(cause);
    if (inner.length === 0) return [{ loc, type: cause === undefined ? type : undefined, words }];
    return inner.map((each) => ({ ...each, loc: [...loc, ...each.loc], words: [...words, ...each.words] }));
  });
}

function matches(issue: ConfigIssue, problem: FlatProblem): boolean {
  const snake = (part: string | number | undefined): string | number | undefined =>
    typeof part === "string" ? toSnakeCase(part) : part;
  // This library may point deeper than Ray did, never elsewhere.
  if (!problem.loc.every((part, index) => snake(issue.path[index]) === snake(part))) return false;
  if (problem.type !== undefined && !sameType(issue.type, problem.type)) return false;
  return problem.words.every((words) => issue.message.includes(words));
}

/** A Ray validator's error may have a narrower type here; pydantic's own types are compared exactly. */
function sameType(actual: string, expected: string): boolean {
  // CallbackConfig is a dataclass in Python, whose unknown keys have a type of their own.
  if (expected === "unexpected_keyword_argument") return actual === "extra_forbidden";
  return actual === expected || expected === "value_error" || expected === "assertion_error";
}

/** Compares values as README.md says: order of keys and int versus float do not matter. */
export function same(actual: unknown, expected: unknown, where = "value"): void {
  if (typeof expected === "object" && expected !== null && "$pattern" in expected) {
    const pattern = new RegExp(`^(?:${String(expected.$pattern)})$`);
    if (typeof actual === "string" && pattern.test(actual)) return;
    throw new Error(`${where}: expected ${String(pattern)}, got ${JSON.stringify(actual)}`);
  }
  if (typeof expected === "number" && typeof actual === "number") {
    if (Math.abs(actual - expected) <= 1e-9 * Math.max(1, Math.abs(expected))) return;
  } else if (Array.isArray(expected) && Array.isArray(actual)) {
    if (expected.length === actual.length) {
      for (const [index, element] of expected.entries()) same(actual[index], element, `${where}[${index}]`);
      return;
    }
  } else if (isObject(expected) && isObject(actual)) {
    for (const key of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
      same(actual[key], expected[key], `${where}.${key}`);
    }
    return;
  } else if (Object.is(actual, expected)) {
    return;
  }
  throw new Error(`${where}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
