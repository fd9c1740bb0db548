import * as z from "zod";

/**
 * Building blocks for configuration schemas that read values the way pydantic's lax mode does, so that what Ray
 * accepts (`"4"` for 4, `"no"` for false, `3.0` for 3) is accepted here, and what it refuses is refused with
 * pydantic's error type and words. Build schemas from these only, in camelCase, and run them with
 * {@link parseConfig}, which also accepts Ray's snake_case spelling.
 */

/** A problem a schema reports: pydantic's error type and its words. Read back by {@link parseConfig}. */
export interface SchemaProblem {
  /** pydantic's error type, for example `int_parsing`. */
  readonly type: string;
  readonly message: string;
  /** Where, below the value being checked. */
  readonly path?: readonly (string | number)[] | undefined;
  /** What would have been accepted. */
  readonly expected?: string | undefined;
  /** What came instead, when the value at the path does not say it; already free of secrets. */
  readonly received?: string | undefined;
  /** True when `path` and `received` were made by a nested parse and are in the user's spelling already. */
  readonly nested?: boolean | undefined;
}

interface CheckContext {
  readonly value?: unknown;
  readonly issues: unknown[];
}

/** Reports a problem from within a zod transform or check. */
export function report(context: CheckContext, problem: SchemaProblem, input?: unknown): void {
  context.issues.push({
    code: "custom",
    input,
    message: problem.message,
    path: [...(problem.path ?? [])],
    params: { problem },
  });
}

/** A schema that reads its value with `read`; a {@link SchemaProblem} it returns instead becomes the error. */
export function reading<T>(
  read: (value: unknown) => { readonly value: T } | SchemaProblem | readonly SchemaProblem[],
): z.ZodType<T> {
  return z.unknown().transform((input, context): T => {
    if (input === undefined) {
      report(context, missing);
      return z.NEVER;
    }
    const result = read(input);
    if (isProblems(result)) {
      for (const problem of result) report(context, problem, input);
      return z.NEVER;
    }
    if ("type" in result) {
      report(context, result, input);
      return z.NEVER;
    }
    return result.value;
  });
}

const missing: SchemaProblem = { type: "missing", message: "Field required" };

function isProblems(value: object): value is readonly SchemaProblem[] {
  return Array.isArray(value);
}

/** Bounds of a number, as pydantic's `gt`, `ge`, `lt`, `le`. */
export interface NumberBounds {
  readonly greaterThan?: number | undefined;
  readonly atLeast?: number | undefined;
  readonly lessThan?: number | undefined;
  readonly atMost?: number | undefined;
}

function outOfBounds(value: number, bounds: NumberBounds): SchemaProblem | undefined {
  const { greaterThan, atLeast, lessThan, atMost } = bounds;
  if (greaterThan !== undefined && !(value > greaterThan)) {
    return { type: "greater_than", message: `Input should be greater than ${greaterThan}` };
  }
  if (atLeast !== undefined && !(value >= atLeast)) {
    return { type: "greater_than_equal", message: `Input should be greater than or equal to ${atLeast}` };
  }
  if (lessThan !== undefined && !(value < lessThan)) {
    return { type: "less_than", message: `Input should be less than ${lessThan}` };
  }
  if (atMost !== undefined && !(value <= atMost)) {
    return { type: "less_than_equal", message: `Input should be less than or equal to ${atMost}` };
  }
  return undefined;
}

/** An integer: also `"4"`, `"4.0"`, `4.0`, `true` (1) and `false` (0). pydantic's `int`. */
export function integer(bounds: NumberBounds = {}): z.ZodType<number> {
  return reading((input) => {
    const read = readInteger(input);
    if (typeof read !== "number") return read;
    return outOfBounds(read, bounds) ?? { value: read };
  });
}

/** An integer that must come as one: no strings, no booleans. pydantic's `StrictInt`. */
export function strictInteger(bounds: NumberBounds = {}): z.ZodType<number> {
  return reading((input) => {
    if (typeof input !== "number" || !Number.isInteger(input)) {
      return { type: "int_type", message: "Input should be a valid integer" };
    }
    return outOfBounds(input, bounds) ?? { value: input };
  });
}

const integerText = /^\s*[+-]?\d+(?:_\d+)*(?:\.0*)?\s*$/;

function readInteger(input: unknown): number | SchemaProblem {
  if (typeof input === "boolean") return input ? 1 : 0;
  if (typeof input === "bigint") return Number(input);
  if (typeof input === "number") {
    if (!Number.isFinite(input)) return { type: "finite_number", message: "Input should be a finite number" };
    if (Number.isInteger(input)) return input;
    return {
      type: "int_from_float",
      message: "Input should be a valid integer, got a number with a fractional part",
    };
  }
  if (typeof input === "string") {
    if (integerText.test(input)) return Number(input.replaceAll("_", ""));
    return {
      type: "int_parsing",
      message: "Input should be a valid integer, unable to parse string as an integer",
    };
  }
  return { type: "int_type", message: "Input should be a valid integer" };
}

/** A number: also `"2.5"`, `"1e3"`, `true` (1). Finite unless `allowInfinity`. pydantic's `float`. */
export function number(
  bounds: NumberBounds & { readonly allowInfinity?: boolean | undefined } = {},
): z.ZodType<number> {
  return reading((input) => {
    const read = readFloat(input);
    if (typeof read !== "number") return read;
    if (!Number.isFinite(read) && (bounds.allowInfinity !== true || Number.isNaN(read))) {
      return { type: "finite_number", message: "Input should be a finite number" };
    }
    return outOfBounds(read, bounds) ?? { value: read };
  });
}

const floatText = /^\s*[+-]?(?:\d+(?:_\d+)*\.?(?:\d+(?:_\d+)*)?|\.\d+(?:_\d+)*)(?:e[+-]?\d+)?\s*$/i;
const infinityText = /^\s*([+-]?)inf(?:inity)?\s*$/i;

function readFloat(input: unknown): number | SchemaProblem {
  if (typeof input === "boolean") return input ? 1 : 0;
  if (typeof input === "bigint") return Number(input);
  if (typeof input === "number") return input;
  if (typeof input === "string") {
    if (floatText.test(input)) return Number(input.replaceAll("_", ""));
    const infinity = infinityText.exec(input);
    if (infinity !== null) return infinity[1] === "-" ? -Infinity : Infinity;
    return {
      type: "float_parsing",
      message: "Input should be a valid number, unable to parse string as a number",
    };
  }
  return { type: "float_type", message: "Input should be a valid number" };
}

const trueWords = new Set(["1", "on", "t", "true", "y", "yes"]);
const falseWords = new Set(["0", "off", "f", "false", "n", "no"]);

/** A boolean: also 0, 1, and the words on/off, true/false, yes/no, t/f, y/n in any case. pydantic's `bool`. */
export function boolean(): z.ZodType<boolean> {
  return reading((input) => {
    if (typeof input === "boolean") return { value: input };
    if (input === 0 || input === 1) return { value: input === 1 };
    if (typeof input === "string") {
      const word = input.toLowerCase();
      if (trueWords.has(word)) return { value: true };
      if (falseWords.has(word)) return { value: false };
    }
    if (typeof input === "string" || Number.isInteger(input)) {
      return {
        type: "bool_parsing",
        message: "Input should be a valid boolean, unable to interpret input",
      };
    }
    return { type: "bool_type", message: "Input should be a valid boolean" };
  });
}

/** A string, and nothing that merely could become one. pydantic's `str`. */
export function text(options: { readonly minLength?: number | undefined } = {}): z.ZodType<string> {
  return reading((input) => {
    if (typeof input !== "string") return { type: "string_type", message: "Input should be a valid string" };
    const { minLength } = options;
    if (minLength !== undefined && input.length < minLength) {
      const unit = minLength === 1 ? "character" : "characters";
      return {
        type: "string_too_short",
        message: `String should have at least ${minLength} ${unit}`,
      };
    }
    return { value: input };
  });
}

/**
 * One of a few fixed values, compared exactly.
 *
 * @param type `literal_error` for a Python `Literal` (the default), `enum` for a Python `Enum`
 */
export function oneOf<const T extends string | number>(
  values: readonly T[],
  type: "literal_error" | "enum" = "literal_error",
): z.ZodType<T> {
  const words = values.map((value) => (typeof value === "string" ? `'${value}'` : String(value)));
  const last = words.at(-1) ?? "";
  const list = words.length < 2 ? last : `${words.slice(0, -1).join(", ")} or ${last}`;
  return reading((input) => {
    const found = values.find((value) => value === input);
    return found === undefined ? { type, message: `Input should be ${list}` } : { value: found };
  });
}

/** Any value at all, kept as it came. pydantic's `Any`. Keys within it are never renamed. */
export function anything(): z.ZodType {
  return reading((input) => ({ value: input }));
}

/** An object whose keys belong to somebody else: never renamed, values untouched. pydantic's `dict[str, Any]`. */
export function opaqueMap(): z.ZodType<Readonly<Record<string, unknown>>> {
  return reading((input) => {
    if (!isPlainObject(input)) return { type: "dict_type", message: "Input should be a valid dictionary" };
    return { value: input };
  });
}

/** A map from names that belong to the user to values of one kind. pydantic's `dict[str, T]`. */
export function mapOf<T>(value: z.ZodType<T>): z.ZodType<Readonly<Record<string, T>>> {
  return z.record(z.string(), value);
}

/** A list. pydantic's `list[T]`. */
export function listOf<T>(item: z.ZodType<T>): z.ZodType<readonly T[]> {
  return z.array(item);
}

/** Absent and null both mean "not given". pydantic's `Optional[T] = None`. */
export function optional<T>(schema: z.ZodType<T>): z.ZodType<T | undefined> {
  return z.preprocess((value) => (value === null ? undefined : value), schema.optional());
}

/** Absent means "not given"; null is a value of its own and stays null. */
export function nullable<T>(schema: z.ZodType<T>): z.ZodType<T | null | undefined> {
  return schema.nullable().optional();
}

/** Absent means `value`; null is refused unless the schema takes it. pydantic's `field: T = value`. */
export function withDefault<T>(schema: z.ZodType<T>, value: T): z.ZodType<T> {
  return schema.default(value as never);
}

/** True for objects written as literals or parsed from JSON and YAML, false for lists and class instances. */
export function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

/**
 * An object with known fields, in camelCase. Unknown keys are errors (pydantic's `extra="forbid"`).
 *
 * @param name the Python class, for messages such as "Input should be a valid dictionary or instance of LoraConfig"
 */
export function objectOf<S extends z.ZodRawShape>(name: string, shape: S): z.ZodObject<S, z.core.$strict> {
  return z.strictObject(shape, { error: (issue) => notAnObject(name, issue.code) });
}

/** As {@link objectOf}, but unknown keys are let through and dropped, where Ray ignores them. */
export function openObjectOf<S extends z.ZodRawShape>(name: string, shape: S): z.ZodObject<S> {
  return z.object(shape, { error: (issue) => notAnObject(name, issue.code) });
}

function notAnObject(name: string, code: string | undefined): string | undefined {
  return code === "invalid_type" ? `Input should be a valid dictionary or instance of ${name}` : undefined;
}
