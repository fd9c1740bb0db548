import type { BodyLimits, HttpRequest } from "../adapters/http-exchange.ts";
import { RequestError } from "../errors/request-error.ts";

const jsonType = /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i;
const formType = /^multipart\/form-data\s*;/i;

/**
 * Reads a body of the kind its route wants.
 *
 * @param onProgress sees what has arrived of a large body so far, see `HttpRequest.readBody`
 * @returns rejects with what reading throws (413, 408)
 * @throws RequestError 415 for another kind or a compressed body, at once
 */
export function readRequestBody(
  request: HttpRequest,
  kind: "json" | "form",
  limits: BodyLimits,
  onProgress?: (bytes: Uint8Array) => void,
): Promise<Uint8Array> {
  const encoding = request.header("content-encoding");
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
    throw unsupported("Compressed request bodies are not accepted; send it without content-encoding.");
  }
  const type = request.header("content-type");
  const fits = type !== undefined && (kind === "json" ? isJson(type) : formType.test(type));
  if (type !== undefined && !fits) throw unsupported(`The content-type must be ${nameOf(kind)}.`);
  const body = request.readBody(limits, onProgress);
  return fits ? body : withoutType(body, kind);
}

async function withoutType(body: Promise<Uint8Array>, kind: "json" | "form"): Promise<Uint8Array> {
  const bytes = await body;
  // There is no type to miss: what is missing is the body.
  if (bytes.byteLength === 0) return bytes;
  throw unsupported(`The content-type is missing; it must be ${nameOf(kind)}.`);
}

function isJson(type: string): boolean {
  return type === "application/json" || jsonType.test(type);
}

function nameOf(kind: "json" | "form"): string {
  return kind === "json" ? "application/json" : "multipart/form-data";
}

function unsupported(message: string): RequestError {
  return new RequestError(message, { status: 415, code: "unsupported_media_type", param: "content-type" });
}
