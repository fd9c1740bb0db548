import { ServerResponse } from "node:http";
import type { HttpResponse } from "./http-exchange.ts";

/**
 * Writes status and headers of an answer; they go out with the first bytes of its body.
 *
 * @param contentLength bytes of a body that is all there; undefined for one that comes in pieces, or when there is none
 * @param closes true when the connection can't be used for another request
 */
export function writeHead(
  response: ServerResponse,
  { status, headers }: HttpResponse,
  contentLength: number | undefined,
  closes: boolean,
): void {
  if (isPlain(response)) {
    // One list, which node:http writes out as it is; set one by one, each is checked, stored and looked up again.
    const list: string[] = [];
    for (const header of headers) list.push(header[0], header[1]);
    if (contentLength !== undefined) list.push("content-length", String(contentLength));
    if (closes) list.push("connection", "close");
    response.writeHead(status, list);
    return;
  }
  response.statusCode = status;
  if (closes) response.setHeader("connection", "close");
  for (const [name, value] of headers) response.setHeader(name, value);
  if (contentLength !== undefined) response.setHeader("content-length", contentLength);
}

/** False when a framework or a middleware may want to see or change headers before they are written. */
function isPlain(response: ServerResponse): boolean {
  return (
    Object.getPrototypeOf(response) === ServerResponse.prototype &&
    response.writeHead === ServerResponse.prototype.writeHead
  );
}
