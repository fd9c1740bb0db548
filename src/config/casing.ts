import type * as z from "zod";

import type { ConfigIssue } from "../errors/configuration-error.ts";
import { isPlainObject } from "./lax-schema.ts";
import { suggestion } from "./nearest-name.ts";

/**
 * The one converter between Ray's snake_case and TypeScript's camelCase. It follows a schema: only keys the schema
 * names are renamed, so maps that belong to others (`engineKwargs`, `envVars`, `userConfig`) stay as they are.
 */

/** `min_replicas` -> `minReplicas`. Names without an inner underscore, and `ALL_CAPS`, stay as they are. */
export function toCamelCase(name: string): string {
  if (name.toUpperCase() === name) return name;
  return name.replaceAll(/(?<=[^_])_+([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** `minReplicas` -> `min_replicas`. `ALL_CAPS` stays as it is. */
export function toSnakeCase(name: string): string {
  if (name.toUpperCase() === name) return name;
  return name.replaceAll(/(?<=[a-zA-Z0-9])[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** A configuration in camelCase, and how to get back to what the user wrote. */
export interface CamelCased {
  /** A copy of the input with known keys in camelCase. Functions and class instances are not copied. */
  readonly value: unknown;
  /** Unknown keys, doubled spellings, forbidden keys, values nested too deeply. Paths are the user's. */
  readonly issues: readonly ConfigIssue[];
  /** The user's spelling of a camelCase path. Keys that were not given take the spelling of their neighbours. */
  readonly userPath: (path: readonly (string | number)[]) => readonly (string | number)[];
}

/** Names that would reach an object's prototype. */
const forbiddenNames = new Set(["__proto__", "constructor", "prototype"]);
const deepest = 100;

/** Reads `input` in either spelling and gives it in camelCase. Never throws. */
export function camelCased(schema: z.ZodType, input: unknown): CamelCased {
  const walk = new Walk();
  const value = walk.convert(schema, input, [], []);
  return { value, issues: walk.issues, userPath: (path) => walk.userPath(path) };
}

/** The same value with the keys that `schema` names in Ray's snake_case, and nothing else changed. */
export function snakeCased(schema: z.ZodType | undefined, value: unknown): unknown {
  if (Array.isArray(value)) {
    const item = schema === undefined ? undefined : itemSchema(schema);
    return value.map((element) => snakeCased(item, element));
  }
  if (!isPlainObject(value)) return value;
  const fields = schema === undefined ? undefined : fieldSchemas(schema);
  const result: Record<string, unknown> = {};
  for (const [key, element] of Object.entries(value)) {
    const field = fields?.get(key);
    const below = field ?? (schema === undefined ? undefined : valueSchema(schema));
    result[field === undefined ? key : toSnakeCase(key)] = snakeCased(below, element);
  }
  return result;
}

type Path = readonly (string | number)[];

class Walk {
  readonly issues: ConfigIssue[] = [];
  readonly #spelling = new Map<string, string>();
  #snakeKeys = 0;
  #camelKeys = 0;

  convert(schema: z.ZodType | undefined, input: unknown, path: Path, userPath: Path): unknown {
    if (path.length > deepest) {
      this.#refuse(userPath, "value_error", `Nested too deeply; ${deepest} levels at most`);
      return undefined;
    }
    if (Array.isArray(input)) {
      const item = schema === undefined ? undefined : itemSchema(schema);
      return input.map((element, index) =>
        this.convert(item, element, [...path, index], [...userPath, index]),
      );
    }
    if (!isPlainObject(input)) return input;
    return this.#convertObject(schema, input, path, userPath);
  }

  #convertObject(
    schema: z.ZodType | undefined,
    input: Readonly<Record<string, unknown>>,
    path: Path,
    userPath: Path,
  ): unknown {
    const fields = schema === undefined ? undefined : fieldSchemas(schema);
    const result: Record<string, unknown> = {};
    const spelledAs = new Map<string, string>();
    for (const [key, element] of Object.entries(input)) {
      const here = [...userPath, key];
      if (forbiddenNames.has(key)) {
        this.#refuse(here, "extra_forbidden", "Extra inputs are not permitted");
        continue;
      }
      if (element === undefined) continue;
      const name = fields === undefined ? key : knownName(fields, key);
      if (fields !== undefined && name === undefined) {
        this.#unknownKey(schema, fields, key, element, result, [...path, key], here);
        continue;
      }
      if (name === undefined) continue;
      const other = spelledAs.get(name);
      if (other !== undefined) {
        this.#refuse(here, "value_error", `Given twice, as "${other}" and as "${key}"; keep one`);
        continue;
      }
      spelledAs.set(name, key);
      if (fields !== undefined) this.#note(path, name, key);
      const below = fields?.get(name) ?? (schema === undefined ? undefined : valueSchema(schema));
      result[name] = this.convert(below, element, [...path, name], here);
    }
    return result;
  }

  #unknownKey(
    schema: z.ZodType | undefined,
    fields: ReadonlyMap<string, z.ZodType>,
    key: string,
    element: unknown,
    result: Record<string, unknown>,
    path: Path,
    userPath: Path,
  ): void {
    if (schema !== undefined && forbidsUnknown(schema)) {
      const names = [...fields.keys()].map((name) => (key.includes("_") ? toSnakeCase(name) : name));
      this.#refuse(userPath, "extra_forbidden", `Extra inputs are not permitted${suggestion(key, names)}`);
      return;
    }
    result[key] = this.convert(undefined, element, path, userPath);
  }

  #refuse(path: Path, type: string, message: string): void {
    this.issues.push({ path, type, message });
  }

  #note(path: Path, name: string, key: string): void {
    if (key !== name) {
      this.#spelling.set(JSON.stringify([...path, name]), key);
      this.#snakeKeys += 1;
    } else if (toSnakeCase(name) !== name) {
      this.#camelKeys += 1;
      this.#spelling.set(JSON.stringify([...path, name]), key);
    }
  }

  userPath(path: Path): Path {
    const snake = this.#snakeKeys > this.#camelKeys;
    return path.map((part, index) => {
      if (typeof part === "number") return part;
      const given = this.#spelling.get(JSON.stringify(path.slice(0, index + 1)));
      return given ?? (snake ? toSnakeCase(part) : part);
    });
  }
}

function knownName(fields: ReadonlyMap<string, z.ZodType>, key: string): string | undefined {
  if (fields.has(key)) return key;
  const camel = toCamelCase(key);
  // Only Ray's exact spelling is a second one: "max__replicas" or "Max_Replicas" are unknown keys.
  return fields.has(camel) && toSnakeCase(camel) === key ? camel : undefined;
}

interface SchemaDefinition {
  readonly type: string;
  readonly innerType?: z.ZodType;
  readonly in?: z.ZodType;
  readonly out?: z.ZodType;
  readonly element?: z.ZodType;
  readonly valueType?: z.ZodType;
  readonly options?: readonly z.ZodType[];
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly catchall?: z.ZodType;
}

function definition(schema: z.ZodType): SchemaDefinition {
  return schema.def;
}

/** Follows optional, default, pipe and union down to the schemas that say what the value looks like. */
function leaves(schema: z.ZodType): readonly z.ZodType[] {
  const { innerType, in: input, out, options } = definition(schema);
  const below = [innerType, input, out, ...(options ?? [])].filter((each) => each !== undefined);
  return below.length === 0 ? [schema] : below.flatMap(leaves);
}

const fieldCache = new WeakMap<z.ZodType, ReadonlyMap<string, z.ZodType> | null>();

/** The fields of the object(s) a schema takes, by camelCase name; undefined when it names none. */
export function fieldSchemas(schema: z.ZodType): ReadonlyMap<string, z.ZodType> | undefined {
  const cached = fieldCache.get(schema);
  if (cached !== undefined) return cached ?? undefined;
  const fields = new Map<string, z.ZodType>();
  let any = false;
  for (const leaf of leaves(schema)) {
    const { type, shape } = definition(leaf);
    if (type !== "object" || shape === undefined) continue;
    any = true;
    for (const [name, field] of Object.entries(shape)) if (!fields.has(name)) fields.set(name, field);
  }
  fieldCache.set(schema, any ? fields : null);
  return any ? fields : undefined;
}

function forbidsUnknown(schema: z.ZodType): boolean {
  const objects = leaves(schema).filter((leaf) => definition(leaf).type === "object");
  return objects.length > 0 && objects.every((leaf) => definition(leaf).catchall?.def.type === "never");
}

function itemSchema(schema: z.ZodType): z.ZodType | undefined {
  for (const leaf of leaves(schema)) {
    const { type, element } = definition(leaf);
    if (type === "array" && element !== undefined) return element;
  }
  return undefined;
}

function valueSchema(schema: z.ZodType): z.ZodType | undefined {
  for (const leaf of leaves(schema)) {
    const { type, valueType } = definition(leaf);
    if (type === "record" && valueType !== undefined) return valueType;
  }
  return undefined;
}
