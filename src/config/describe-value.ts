import { isPlainObject } from "./lax-schema.ts";

const secretName =
  /api_?key|token(?!iz)|secret|password|passwd|authorization|credential|cookie|^headers$|^env_?vars$|^tls$/i;
const longest = 60;

/** Whether what stands below this name should not be shown. */
export function soundsSecret(name: string): boolean {
  return secretName.test(name);
}

/**
 * A value in a few words, for error messages. Never shows what stands below a name that sounds secret, nor
 * credentials within a URL.
 *
 * @param path where the value stands
 */
export function describeValue(value: unknown, path: readonly (string | number)[]): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (path.some((part) => typeof part === "string" && soundsSecret(part))) return "[redacted]";
  if (typeof value === "string") return shorten(JSON.stringify(withoutCredentials(value)));
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint")
    return String(value);
  if (typeof value === "function") return `the function ${value.name === "" ? "(anonymous)" : value.name}`;
  if (typeof value === "symbol") return "a symbol";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (isPlainObject(value)) {
    const keys = Object.keys(value);
    return keys.length === 0 ? "an empty object" : shorten(`an object with ${keys.slice(0, 5).join(", ")}`);
  }
  return `an instance of ${value.constructor?.name ?? "an unnamed class"}`;
}

function withoutCredentials(value: string): string {
  return value.replace(/\/\/[^/@\s]*@/, "//[redacted]@");
}

function shorten(words: string): string {
  return words.length <= longest ? words : `${words.slice(0, longest - 1)}…`;
}
