import type { HttpResponse } from "../adapters/http-exchange.ts";
import type { ByteSource } from "../internal/byte-stream.ts";
import { type FailureFormat, failureEvent } from "./stream-failure.ts";

/**
 * A stream of events that no compression, cache or reverse proxy on the way holds back: `no-transform` keeps the
 * compression middleware away, `x-accel-buffering` nginx.
 */
export function eventStreamResponse(source: ByteSource, failureFormat: FailureFormat): HttpResponse {
  return {
    status: 200,
    headers: [
      ["content-type", "text/event-stream; charset=utf-8"],
      ["cache-control", "no-cache, no-transform"],
      ["x-accel-buffering", "no"],
      ["x-content-type-options", "nosniff"],
    ],
    body: source,
    lastWords: (error) => failureEvent(failureFormat, error),
  };
}
