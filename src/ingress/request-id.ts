const longestId = 128;

/**
 * The client's id for its request, made safe for headers and logs: control characters, spaces and non-ASCII are
 * replaced, and it is cut to 128 characters. Undefined when the client sent none.
 */
export function clientRequestId(header: string | undefined): string | undefined {
  if (header === undefined || header === "") return undefined;
  return header.slice(0, longestId).replaceAll(/[^\x21-\x7e]/g, "_");
}
