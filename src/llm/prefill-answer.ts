import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import { EngineStreamError } from "../errors/engine-stream-error.ts";
import type { PrefillResponse } from "../kv-transfer/kv-connector.ts";
import { errorEventStatus } from "../protocol/engine-error-body.ts";
import type { JsonElement } from "../protocol/json-element.ts";
import { type JsonObjectIndex, scanJsonObject } from "../protocol/json-object-index.ts";
import { RawJson } from "../protocol/raw-json.ts";
import { engineErrorResponse } from "./engine-error-response.ts";
import { type PromptDetails, promptDetailsOf } from "./prompt-usage.ts";

/** What a prefill engine answered. */
export interface PrefillAnswer extends PrefillResponse {
  /** `stop` when the very first token ended the answer, upon which vLLM may free the KV at once. */
  readonly finishReason: string | undefined;
  /** For the client's `usage`. */
  readonly promptDetails: PromptDetails;
}

/**
 * Reads the body of a 200 from a prefill engine.
 *
 * @param withTokenIds the prompt's token ids were asked for: those that come unasked may be of a prompt that decode
 *   can't take as ids
 * @throws EngineStreamError for what is no JSON object; EngineResponseError for an error object or no choices
 */
export function readPrefillAnswer(
  body: Buffer,
  origin: EngineErrorOrigin,
  withTokenIds: boolean,
): PrefillAnswer {
  let index: JsonObjectIndex;
  try {
    index = scanJsonObject(body);
  } catch (cause) {
    throw new EngineStreamError(origin, "malformed", { cause });
  }
  const error = index.kind("error");
  if (error !== undefined && error !== "null") {
    const status = errorEventStatus({ error: index.value("error") });
    throw engineErrorResponse(origin, status, undefined, body);
  }
  const choice = firstChoice(index, origin);
  const finishReason = choice.member("finish_reason");
  const handle = index.element("kv_transfer_params");
  return {
    kvTransferParams:
      handle === undefined || handle.kind === "null" ? undefined : new RawJson(handle.bytes, handle),
    promptTokenIds: withTokenIds ? promptTokenIds(index, choice) : undefined,
    finishReason: finishReason?.kind === "string" ? String(finishReason.value()) : undefined,
    promptDetails: promptDetailsOf(index),
  };
}

function firstChoice(index: JsonObjectIndex, origin: EngineErrorOrigin): JsonElement {
  const choice = firstElement(index.element("choices"));
  if (choice?.kind === "object") return choice;
  throw new EngineResponseError(origin, 502, {
    message: "The prefill engine's answer has no choices.",
    type: "engine_error",
    param: null,
    code: null,
  });
}

/** Ids that can be sent on: a list with something in it. Chat has them beside its choices, completions within. */
function promptTokenIds(index: JsonObjectIndex, choice: JsonElement): RawJson | undefined {
  const ids = index.element("prompt_token_ids") ?? choice.member("prompt_token_ids");
  return firstElement(ids)?.kind === "number" ? new RawJson(ids!.bytes) : undefined;
}

function firstElement(array: JsonElement | undefined): JsonElement | undefined {
  return array?.kind === "array" ? array.first() : undefined;
}
