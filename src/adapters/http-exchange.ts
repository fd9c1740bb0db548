import type { ServeLLMError } from "../errors/serve-llm-error.ts";
import type { ByteSource } from "../internal/byte-stream.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";

/** A client's HTTP request, whatever server it came through. Its functions need no `this`: it can be taken apart. */
export interface HttpRequest {
  readonly method: string;
  /** Path without query, as it came: percent-encoding not decoded. */
  readonly path: string;
  /** Query without `?`. */
  readonly query: string;
  /** The value of a header, lower-case name; several are joined with `, `. */
  readonly header: (name: string) => string | undefined;
  /** Lower-case names of all headers. */
  readonly headerNames: () => readonly string[];
  /**
   * Reads the whole body, once.
   *
   * @param onProgress sees what has arrived so far, from the start, whenever a part of a body has come that is not
   *   there at once; the view is good until the next call
   * @throws RequestError 413 when it is larger than `maxBytes`, 408 when it is not complete within `timeoutMs`
   */
  readonly readBody: (limits: BodyLimits, onProgress?: (bytes: Uint8Array) => void) => Promise<Uint8Array>;
  /** Fires when the client leaves; ended when the response is delivered or given up. */
  readonly cancel: CancelToken;
}

/** How much may be read, and how long that may take. */
export interface BodyLimits {
  readonly maxBytes: number;
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** For what a person should know. */
  readonly warn: (message: string) => void;
}

/** An answer for any server to send. */
export interface HttpResponse {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Uint8Array | ByteSource | undefined;
  /** True when nothing is served under this path and method, so that a framework's next handler may have the request. */
  readonly unserved?: boolean | undefined;
  /** The route that answered, as it was declared; undefined when none did. For metrics: one of a closed set. */
  readonly route?: string | undefined;
  /**
   * For bodies that come in pieces: what is sent to a client whose answer broke, before its connection is cut.
   * Without it the connection is just cut.
   */
  readonly lastWords?: ((error: ServeLLMError) => Uint8Array) | undefined;
}

/** What a door opens to. Never rejects: errors are responses. */
export type HttpService = (request: HttpRequest) => Promise<HttpResponse>;

/** True when the body comes in pieces. */
export function isByteSource(body: HttpResponse["body"]): body is ByteSource {
  return body !== undefined && !(body instanceof Uint8Array);
}
