import { type ClassReference, className } from "../config/class-reference.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";

/**
 * The class a configuration names. A class is taken as it is; a path of Ray's, or a bare name, stands for our class of
 * that name, since nothing can be imported from a Python path here.
 *
 * @throws ConfigurationError when the name is none of `known`
 */
export function resolveClass<Class>(
  reference: ClassReference | undefined,
  fallback: Class,
  known: Readonly<Record<string, Class>>,
  path: readonly string[],
): Class {
  if (reference === undefined) return fallback;
  if (typeof reference !== "string") return reference as unknown as Class;
  const name = className(reference);
  const found = Object.hasOwn(known, name) ? known[name] : undefined;
  if (found !== undefined) return found;
  throw new ConfigurationError("A class in the configuration", [
    {
      path,
      message: `No class "${name}" is known here; pass the class itself`,
      type: "import_error",
      expected: `a class, or one of ${Object.keys(known).join(", ")}`,
      received: reference,
    },
  ]);
}
