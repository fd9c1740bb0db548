/** Kind of a JSON value. */
export type JsonKind = "object" | "array" | "string" | "number" | "boolean" | "null";

/** Kind of the valid JSON value that starts with this byte. */
export function jsonKindOf(firstByte: number): JsonKind {
  switch (firstByte) {
    case 0x7b:
      return "object";
    case 0x5b:
      return "array";
    case 0x22:
      return "string";
    case 0x74:
    case 0x66:
      return "boolean";
    case 0x6e:
      return "null";
    default:
      return "number";
  }
}
