import { toCamelCase } from "./casing.ts";
import { describeValue } from "./describe-value.ts";
import { isPlainObject, type SchemaProblem } from "./lax-schema.ts";

/** The options of what is named; which there are, and their defaults, is said where it is made. Either spelling is taken. */
export type NamedOptions = Readonly<Record<string, unknown>>;

/**
 * Reads an object that names one of several things in words a YAML file can hold: `{ kind: { options } }`. What its
 * options are is checked where it is made, before anything starts.
 *
 * @param kinds names that are known, in camelCase; snake_case is taken as well
 * @param noun what they are, for messages: `source of endpoints`
 */
export function readNamedSource<Kind extends string>(
  input: Readonly<Record<string, unknown>>,
  kinds: readonly Kind[],
  noun: string,
): { readonly value: { readonly [Name in Kind]?: NamedOptions } } | SchemaProblem {
  const named = Object.keys(input);
  const kind = kinds.find((known) => known === toCamelCase(named[0] ?? ""));
  if (named.length !== 1 || kind === undefined) {
    return {
      type: "value_error",
      message: `An object here names one ${noun}`,
      expected: `one of ${kinds.map((known) => `{ ${known}: { ... } }`).join(", ")}`,
      received: named.length === 0 ? "an empty object" : `an object with ${named.join(", ")}`,
    };
  }
  const options = input[named[0]!];
  return isPlainObject(options)
    ? { value: { [kind]: options } as { readonly [Name in Kind]?: NamedOptions } }
    : {
        type: "dict_type",
        message: `The options of a ${noun} are an object`,
        path: [named[0]!],
        received: describeValue(options, []),
      };
}
