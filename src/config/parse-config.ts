import type * as z from "zod";

import { ConfigurationError, type ConfigIssue } from "../errors/configuration-error.ts";
import { ServeLLMError } from "../errors/serve-llm-error.ts";
import { camelCased } from "./casing.ts";
import { describeValue } from "./describe-value.ts";
import type { SchemaProblem } from "./lax-schema.ts";
import { suggestion } from "./nearest-name.ts";

/** What {@link parseConfigDetailed} gives. */
export interface ParsedConfig<T> {
  /** The value after coercion and defaults, keys in camelCase. */
  readonly value: T;
  /** The input as the user gave it (no coercion, no defaults), known keys in camelCase. A copy. */
  readonly given: unknown;
  /** Top-level keys that were given, camelCase: pydantic's `model_fields_set`. */
  readonly explicitlySet: ReadonlySet<string>;
  /** A camelCase path in the user's spelling, for problems found after parsing. */
  readonly userPath: (path: readonly (string | number)[]) => readonly (string | number)[];
}

/**
 * Runs a schema over a configuration in either spelling.
 *
 * @param subject what is being read, for the message: "LLMConfig", "deployment_config"
 * @throws {ConfigurationError} naming every problem found, in the user's spelling; nothing else is thrown
 */
export function parseConfig<S extends z.ZodType>(schema: S, input: unknown, subject: string): z.output<S> {
  return parseConfigDetailed(schema, input, subject).value;
}

/** As {@link parseConfig}, also telling what was given explicitly. */
export function parseConfigDetailed<S extends z.ZodType>(
  schema: S,
  input: unknown,
  subject: string,
): ParsedConfig<z.output<S>> {
  const cased = camelCased(schema, input);
  const result = schema.safeParse(cased.value);
  if (result.success && cased.issues.length === 0) {
    const given = cased.value;
    const keys = typeof given === "object" && given !== null ? Object.keys(given) : [];
    return { value: result.data, given, explicitlySet: new Set(keys), userPath: cased.userPath };
  }
  const issues: ConfigIssue[] = [];
  // As pydantic does, fields come before keys that should not be there.
  for (const issue of result.error?.issues ?? []) {
    issues.push(...toConfigIssues(issue, cased.value, cased.userPath));
  }
  issues.push(...cased.issues);
  throw new ConfigurationError(subject, issues);
}

/**
 * Reads a part of a configuration with its own parser, for use in a schema's `reading`: the problems it finds are
 * reported below the part, in the user's spelling.
 *
 * @param prefix words put before each problem, as Ray's "Invalid lora_config: "
 */
export function nested<T>(parse: () => T, prefix = ""): { readonly value: T } | readonly SchemaProblem[] {
  try {
    return { value: parse() };
  } catch (error) {
    if (!ServeLLMError.isInstance(error) || !(error instanceof ConfigurationError)) throw error;
    return error.issues.map((issue) => ({
      type: issue.type,
      message: `${prefix}${issue.message}`,
      path: issue.path,
      expected: issue.expected,
      received: issue.received,
      nested: true,
    }));
  }
}

type UserPath = (path: readonly (string | number)[]) => readonly (string | number)[];

function toConfigIssues(issue: z.core.$ZodIssue, input: unknown, userPath: UserPath): readonly ConfigIssue[] {
  const path = issue.path.map((part) => (typeof part === "number" ? part : String(part)));
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      path: [...userPath(path), key],
      type: "extra_forbidden",
      message: `Extra inputs are not permitted${suggestion(key, [])}`,
    }));
  }
  if (issue.code === "custom") {
    const problem = issue.params?.["problem"] as SchemaProblem | undefined;
    if (problem !== undefined) return [fromProblem(problem, path, input, userPath)];
  }
  if (issue.code === "invalid_union") {
    // The member whose own fields are at fault is the one the value looks like; else the last, which is the simplest.
    const members = issue.errors;
    const chosen =
      members.find((member) => member.every((each) => each.path.length > 0)) ?? members.at(-1) ?? [];
    return chosen.flatMap((each) =>
      toConfigIssues({ ...each, path: [...issue.path, ...each.path] }, input, userPath),
    );
  }
  const received = valueAt(input, path);
  const [type, message] = inPydanticWords(issue, received);
  return [{ path: userPath(path), type, message, received: describeValue(received, path) }];
}

function fromProblem(
  problem: SchemaProblem,
  path: readonly (string | number)[],
  input: unknown,
  userPath: UserPath,
): ConfigIssue {
  const { type, message, expected } = problem;
  if (problem.nested === true) {
    const below = problem.path ?? [];
    const outer = path.slice(0, path.length - below.length);
    return {
      path: [...userPath(outer), ...below],
      type,
      message,
      expected,
      received: problem.received,
    };
  }
  const received =
    problem.received ?? (type === "missing" ? undefined : describeValue(valueAt(input, path), path));
  return { path: userPath(path), type, message, expected, received };
}

function valueAt(input: unknown, path: readonly (string | number)[]): unknown {
  let value = input;
  for (const part of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}

function inPydanticWords(issue: z.core.$ZodIssue, received: unknown): readonly [string, string] {
  if (issue.code === "invalid_type") {
    if (received === undefined) return ["missing", "Field required"];
    if (issue.expected === "object") {
      const named = issue.message.startsWith("Input should be");
      return named ? ["model_type", issue.message] : ["dict_type", "Input should be a valid dictionary"];
    }
    if (issue.expected === "record") return ["dict_type", "Input should be a valid dictionary"];
    if (issue.expected === "array") return ["list_type", "Input should be a valid list"];
  }
  return ["value_error", issue.message];
}
