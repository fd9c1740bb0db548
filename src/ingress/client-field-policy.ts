import type { HttpRequest } from "../adapters/http-exchange.ts";
import { RequestError } from "../errors/request-error.ts";
import type { JsonObjectIndex } from "../protocol/json-object-index.ts";

/**
 * Fields by which a client could choose where KV comes from or which engine rank serves it. They are ours to set; from
 * a client they are refused, wherever they are nested and however they are escaped.
 */
export const refusedFields: ReadonlySet<string> = new Set([
  "kv_transfer_params",
  "ec_transfer_params",
  "bootstrap_host",
  "bootstrap_port",
  "bootstrap_room",
  "data_parallel_rank",
  "disagg_prefill_resp",
  "disagg_spec",
  "__proto__",
]);

const refusedHeaders = /^x-(data-parallel|prefill|prefiller|decode|decoder|kv|bootstrap)-/;

/** Headers of a client that engines may see. */
const forwardedHeaders = ["traceparent", "tracestate"] as const;
const noHeaders: readonly string[] = Object.freeze([]);

/** @throws RequestError 400 naming the field */
export function refuseInternalFields(body: JsonObjectIndex): void {
  if (body.forbiddenKey !== undefined) throw notAllowed(body.forbiddenKey);
}

/** The same for the names of a form's fields. @throws RequestError 400 naming the field */
export function refuseFieldNames(names: readonly string[]): void {
  for (const name of names) if (refusedFields.has(name)) throw notAllowed(name);
}

/** @throws RequestError 400 naming the header */
export function refuseInternalHeaders(request: HttpRequest): void {
  for (const name of request.headerNames()) {
    // Most requests have no such header at all: no need to try the expression on each.
    if (name.startsWith("x-") && refusedHeaders.test(name)) throw notAllowed(name);
  }
}

/**
 * The sticky session key: the value of Ray's session header, whichever way its words are joined. An empty one is none.
 *
 * @param name of the header, lower case (`RAY_SERVE_SESSION_ID_HEADER_KEY`)
 */
export function sessionIdOf(request: HttpRequest, name: string): string | undefined {
  const value = request.header(name) ?? joinedOtherwise(request, name);
  return value === undefined || value === "" ? undefined : value;
}

function joinedOtherwise(request: HttpRequest, name: string): string | undefined {
  for (const sent of request.headerNames()) if (isSameName(sent, name)) return request.header(sent);
  return undefined;
}

/** Header names that differ only in `-` and `_` are one name to Ray. */
function isSameName(one: string, other: string): boolean {
  if (one.length !== other.length) return false;
  for (let index = 0; index < one.length; index += 1) {
    const character = one[index];
    if (character !== other[index] && !(isJoint(character) && isJoint(other[index]))) return false;
  }
  return true;
}

function isJoint(character: string | undefined): boolean {
  return character === "-" || character === "_";
}

/** The allow-listed headers a client sent, flat. */
export function headersToForward(request: HttpRequest): readonly string[] {
  let headers: string[] | undefined;
  for (const name of forwardedHeaders) {
    const value = request.header(name);
    if (value !== undefined) (headers ??= []).push(name, value);
  }
  return headers ?? noHeaders;
}

function notAllowed(name: string): RequestError {
  return new RequestError(`\`${name}\` may not be sent by clients: it is set between engines.`, {
    code: "field_not_allowed",
    param: name,
  });
}
