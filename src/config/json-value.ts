import { isPlainObject } from "./lax-schema.ts";

/**
 * Why a value cannot be written as JSON, in words, or `undefined` when it can. Stricter than `JSON.stringify`,
 * which drops functions and undefined without a word.
 */
export function jsonProblem(value: unknown, above: readonly unknown[] = []): string | undefined {
  if (value === null || ["string", "number", "boolean"].includes(typeof value)) return undefined;
  if (typeof value !== "object") return `a ${typeof value} is not JSON`;
  if (above.includes(value)) return "it contains itself";
  const parts = Array.isArray(value) ? value : isPlainObject(value) ? Object.values(value) : undefined;
  if (parts === undefined) return `an instance of ${value.constructor.name} is not JSON`;
  for (const part of parts) {
    const problem = jsonProblem(part, [...above, value]);
    if (problem !== undefined) return problem;
  }
  return undefined;
}
