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
 * @throws EngineStreamError for what is no JSON object; EngineResponseError for an error object or no choices
 */
export function readPrefillAnswer(body: Buffer, origin: EngineErrorOrigin): PrefillAnswer {
  let index: JsonObjectIndex;
  try {
    index = scanJsonObject(body);
  } catch (cause) {
    throw new EngineStreamError(origin, "malformed", { cause });
  }
  if (index.has("error") && index.kind("error") !== "null") {
    const status = errorEventStatus({ error: index.value("error") });
    throw engineErrorResponse(origin, status, undefined, body);
  }
  const choice = firstChoice(index, origin);
  return {
    kvTransferParams:
      index.kind("kv_transfer_params") === "null" ? undefined : index.raw("kv_transfer_params"),
    promptTokenIds: tokenIds(index.element("prompt_token_ids") ?? choice.promptTokenIds),
    finishReason: choice.finishReason,
    promptDetails: promptDetailsOf(index),
  };
}

/** The first choice, read without parsing the many numbers that may be in it. */
function firstChoice(index: JsonObjectIndex, origin: EngineErrorOrigin): FirstChoice {
  const choice = firstObject(index.element("choices"));
  if (choice === undefined) {
    throw new EngineResponseError(origin, 502, {
      message: "The prefill engine's answer has no choices.",
      type: "engine_error",
      param: null,
      code: null,
    });
  }
  let finishReason: string | undefined;
  let promptTokenIds: JsonElement | undefined;
  choice.eachMember((key, member) => {
    if (key === "finish_reason" && member.kind === "string") finishReason = String(member.value());
    if (key === "prompt_token_ids") promptTokenIds = member;
  });
  return { finishReason, promptTokenIds };
}

interface FirstChoice {
  readonly finishReason: string | undefined;
  readonly promptTokenIds: JsonElement | undefined;
}

function firstObject(array: JsonElement | undefined): JsonElement | undefined {
  let first: JsonElement | undefined;
  array?.eachElement((element) => {
    if (element.kind === "object") first = element;
    return false;
  });
  return first;
}

/** Ids that can be sent on: a list with something in it. Chat has them beside its choices, completions within. */
function tokenIds(array: JsonElement | undefined): RawJson | undefined {
  let numbers = false;
  array?.eachElement(({ kind }) => {
    numbers = kind === "number";
    return false;
  });
  return numbers ? new RawJson(array!.bytes) : undefined;
}
