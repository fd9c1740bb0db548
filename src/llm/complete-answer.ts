import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import { EngineStreamError } from "../errors/engine-stream-error.ts";
import { errorEventStatus } from "../protocol/engine-error-body.ts";
import { type JsonObjectIndex, scanJsonObject } from "../protocol/json-object-index.ts";
import { spliceJsonObject } from "../protocol/json-splice.ts";
import { engineErrorResponse } from "./engine-error-response.ts";

/** Fields of an engine's answer that are between engines and never a client's business. */
const internalFields = ["kv_transfer_params", "ec_transfer_params"] as const;

/**
 * Checks that a 200 with JSON really is an answer, and takes out what clients must not see.
 *
 * @returns the body for the client
 * @throws EngineResponseError for an error object under status 200; EngineStreamError when choices are missing or
 *   one of them was not finished
 */
export function completeAnswer(body: Buffer, origin: EngineErrorOrigin): Uint8Array {
  let index: JsonObjectIndex;
  try {
    index = scanJsonObject(body);
  } catch (cause) {
    throw new EngineStreamError(origin, "malformed", { cause });
  }
  if (index.kind("error") === "object" || index.kind("error") === "string") {
    const status = errorEventStatus({ error: index.value("error") });
    throw engineErrorResponse(origin, status, undefined, body);
  }
  if (index.kind("choices") !== "array") throw new EngineStreamError(origin, "malformed");
  const choices = index.value("choices") as readonly { readonly finish_reason?: unknown }[];
  if (choices.length === 0) throw new EngineStreamError(origin, "swallowed");
  if (choices.some((choice) => typeof choice?.finish_reason !== "string")) {
    throw new EngineStreamError(origin, "truncated");
  }
  const present = internalFields.filter((field) => index.has(field));
  return present.length === 0 ? body : Buffer.concat(spliceJsonObject(index, { remove: present }));
}
