import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import { parseEngineErrorBody } from "../protocol/engine-error-body.ts";
import type { EngineHeaders } from "../replicas/engine-headers.ts";

/** The error for an engine's answer that is not a 2xx. */
export function engineErrorResponse(
  origin: EngineErrorOrigin,
  status: number,
  headers: EngineHeaders | undefined,
  body: Uint8Array,
): EngineResponseError {
  const retryAfter = Number(headers?.get("retry-after"));
  return new EngineResponseError(origin, status, parseEngineErrorBody(status, body), {
    retryAfterS: Number.isFinite(retryAfter) && retryAfter >= 0 ? retryAfter : undefined,
  });
}
