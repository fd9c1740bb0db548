import type { HttpRequest } from "../adapters/http-exchange.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import type { JsonObjectIndex } from "../protocol/json-object-index.ts";
import { sessionIdOf } from "./client-field-policy.ts";

/** A longer key is no key: routers hash it, and traces would carry it. */
const longestKey = 512;

/** Where the sticky session key of a generation request comes from, beside Ray's session header. */
export interface SessionKeyOptions {
  /**
   * Top-level field of the body, a text, for example vLLM's `session_id` or OpenAI's `prompt_cache_key` or `user`. Goes
   * before the header, as in vLLM. @default none
   */
  readonly sessionField?: string | undefined;
  /**
   * A function of yours; goes before both. Undefined: no session by it. Keys are cut at 512 characters. Calls of
   * `app.handle` come as requests with the route's path and no headers. @default none
   */
  readonly sessionKey?: ((request: HttpRequest, body: JsonObjectIndex) => string | undefined) | undefined;
}

/** Reads session keys. */
export type SessionKeyReader = (
  request: HttpRequest,
  body: JsonObjectIndex | undefined,
) => string | undefined;

/**
 * How the sticky session keys of an ingress are found.
 *
 * @param header lower-case name of Ray's header; also serves requests whose body is not read
 * @throws ConfigurationError when an option is not usable
 */
export function sessionKeyReader(options: SessionKeyOptions, header: string): SessionKeyReader {
  const { sessionField, sessionKey } = options;
  if (sessionField !== undefined && (typeof sessionField !== "string" || sessionField === ""))
    throw unusable("sessionField", "the name of a field of the body", sessionField);
  if (sessionKey !== undefined && typeof sessionKey !== "function")
    throw unusable("sessionKey", "a function", sessionKey);
  return (request, body) => {
    if (body !== undefined) {
      const own = sessionKey?.(request, body) ?? fieldOf(body, sessionField);
      if (own !== undefined && own !== "") return own.slice(0, longestKey);
    }
    return sessionIdOf(request, header);
  };
}

function fieldOf(body: JsonObjectIndex, field: string | undefined): string | undefined {
  if (field === undefined || body.kind(field) !== "string") return undefined;
  return body.value(field) as string;
}

function unusable(option: string, expected: string, received: unknown): ConfigurationError {
  return new ConfigurationError("OpenAiIngress", [
    { path: [option], message: "Not usable", type: "value_error", expected, received: typeof received },
  ]);
}
