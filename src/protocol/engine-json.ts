// Matches strings whole, so that only bare words outside them are replaced. Always consumes what it starts on (an
// unterminated string runs to the end), which keeps it linear.
const stringOrBareWord = /"[^"\\]*(?:\\[\s\S][^"\\]*)*(?:"|\\?$)|-?\bInfinity\b|\bNaN\b/g;

/**
 * Parses JSON as Python writes it: bare `NaN`, `Infinity` and `-Infinity` (log probabilities) are read as null,
 * which is what `JSON.stringify` makes of them.
 *
 * @throws {SyntaxError} when it is no JSON by that measure either
 */
export function parseEngineJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!text.includes("NaN") && !text.includes("Infinity")) throw error;
    return JSON.parse(text.replace(stringOrBareWord, (match) => (match.startsWith('"') ? match : "null")));
  }
}

/** The value as an object to read fields of, or undefined when it is none (arrays are none). */
export function asJsonObject(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}
