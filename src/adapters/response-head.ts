import { ServerResponse } from "node:http";
import type { HttpResponse } from "./http-exchange.ts";

/** What an answer has in its head beside its own status and headers. */
export interface HeadOptions {
  /** Bytes of a body that is all there; undefined for one that comes in pieces, or when there is none. */
  readonly contentLength: number | undefined;
  /** True when the connection can't be used for another request. */
  readonly closes: boolean;
}

/** Writes status and headers of an answer with a body where nobody wants to see them; they go out with its first bytes. */
export function writeHead(response: ServerResponse, answer: HttpResponse, options: HeadOptions): void {
  const list = isPlain(response) ? headerList(answer.headers, options) : undefined;
  if (list === undefined) setHead(response, answer, options);
  else response.writeHead(answer.status, list);
}

/** Sets status and headers, for whoever may still change them. Of two headers of one name the last one counts. */
export function setHead(
  response: ServerResponse,
  { status, headers }: HttpResponse,
  { contentLength, closes }: HeadOptions,
): void {
  response.statusCode = status;
  if (closes) response.setHeader("connection", "close");
  for (const [name, value] of headers) response.setHeader(name, value);
  if (contentLength !== undefined) response.setHeader("content-length", contentLength);
}

/** True when a middleware (compression, for one) or another kind of server stands between us and the socket. */
export function isWrapped(response: ServerResponse): boolean {
  const { write, end } = ServerResponse.prototype;
  return response.write !== write || response.end !== end;
}

/**
 * One list, which node:http writes out as it is; set one by one, each is checked, stored and looked up again. Undefined
 * where a name may be there twice: both would be sent.
 */
function headerList(
  headers: HttpResponse["headers"],
  { contentLength, closes }: HeadOptions,
): string[] | undefined {
  const list: string[] = [];
  for (const header of headers) {
    const name = header[0];
    if (list.includes(name) || name !== name.toLowerCase()) return undefined;
    list.push(name, header[1]);
  }
  if (contentLength !== undefined) {
    if (list.includes("content-length")) return undefined;
    list.push("content-length", String(contentLength));
  }
  if (closes) {
    if (list.includes("connection")) return undefined;
    list.push("connection", "close");
  }
  return list;
}

/** False when somebody may want to see or change headers: a framework, a middleware, or a log when the answer is out. */
function isPlain(response: ServerResponse): boolean {
  const { prototype } = ServerResponse;
  return (
    Object.getPrototypeOf(response) === prototype &&
    response.writeHead === prototype.writeHead &&
    response.setHeader === prototype.setHeader &&
    !isWrapped(response) &&
    // node:http's own and that of our exchange: what was written as a list can't be asked for afterwards.
    response.listenerCount("finish") <= 1 &&
    response.listenerCount("close") <= 1
  );
}
