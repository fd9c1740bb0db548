import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import { EngineStreamError } from "../errors/engine-stream-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { Clock } from "../internal/clock.ts";
import type { PrefillResponse } from "../kv-transfer/kv-connector.ts";
import { errorEventStatus } from "../protocol/engine-error-body.ts";
import { type JsonObjectIndex, scanJsonObject } from "../protocol/json-object-index.ts";
import { callBuffered } from "../replicas/buffered-call.ts";
import type { EngineHttpRequest } from "../replicas/endpoint-client.ts";
import type { Replica } from "../replicas/replica.ts";
import { engineErrorResponse } from "./engine-error-response.ts";

/** A prefill's answer is small; one that echoes prompts or log probabilities without end is cut off. */
const maxPrefillBytes = 4 * 1024 * 1024;

/** What a prefill engine answered. */
export interface PrefillAnswer extends PrefillResponse {
  /** `stop` when the very first token ended the answer, upon which vLLM may free the KV at once. */
  readonly finishReason: string | undefined;
}

/**
 * Runs the prompt through a prefill engine.
 *
 * @throws EngineResponseError for anything but a 200 with an answer; EngineTimeoutError, EngineConnectionError, or
 *   the token's error
 */
export async function callPrefill(
  replica: Replica,
  request: EngineHttpRequest,
  options: { readonly clock: Clock; readonly cancel: CancelToken; readonly prefillTimeoutMs: number },
): Promise<PrefillAnswer> {
  const origin: EngineErrorOrigin = { phase: "prefill", replica: replica.fullName };
  const response = await callBuffered(replica.http, request, {
    clock: options.clock,
    cancel: options.cancel,
    replica: replica.fullName,
    timeoutMs: options.prefillTimeoutMs,
    timeoutOption: "prefillTimeoutMs",
    maxBytes: maxPrefillBytes,
  });
  if (response.status !== 200) {
    throw engineErrorResponse(origin, response.status, response.headers, response.body);
  }
  return readAnswer(response.body, origin);
}

function readAnswer(body: Buffer, origin: EngineErrorOrigin): PrefillAnswer {
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
    finishReason: typeof choice.finish_reason === "string" ? choice.finish_reason : undefined,
  };
}

function firstChoice(
  index: JsonObjectIndex,
  origin: EngineErrorOrigin,
): { readonly finish_reason?: unknown } {
  const choices = index.kind("choices") === "array" ? (index.value("choices") as readonly unknown[]) : [];
  const first = choices[0];
  if (typeof first === "object" && first !== null) return first;
  throw new EngineResponseError(origin, 502, {
    message: "The prefill engine's answer has no choices.",
    type: "engine_error",
    param: null,
    code: null,
  });
}
