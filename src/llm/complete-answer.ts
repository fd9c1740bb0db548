import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import type { EngineResponseError } from "../errors/engine-response-error.ts";
import { EngineStreamError } from "../errors/engine-stream-error.ts";
import { errorEventStatus } from "../protocol/engine-error-body.ts";
import { isBrokenFinish } from "../protocol/event-stream-monitor.ts";
import type { JsonElement } from "../protocol/json-element.ts";
import { type JsonObjectIndex, scanJsonObject } from "../protocol/json-object-index.ts";
import { splicedJson } from "../protocol/json-splice.ts";
import { engineErrorResponse } from "./engine-error-response.ts";
import { editsForClient } from "./edits-for-client.ts";
import { type PromptDetails, usageCounts } from "./prompt-usage.ts";

/**
 * Checks that a 200 with JSON really is an answer, and takes out what clients must not see.
 *
 * @param expectedChoices how many choices there must be at least
 * @param onUsage hears what the engine counted, see {@link usageCounts}
 * @param promptDetails what prefill said of the prompt; left out when this engine computed it
 * @returns the body for the client
 * @throws EngineResponseError for an error object under status 200; EngineStreamError when choices are missing or
 *   one of them was not finished, or was given up
 */
export function completeAnswer(
  body: Buffer,
  origin: EngineErrorOrigin,
  expectedChoices: number,
  onUsage?: (usage: unknown) => void,
  promptDetails?: () => PromptDetails,
): Uint8Array {
  const index = scanAnswer(body, origin);
  if (hasError(index)) throw errorObject(index, origin);
  checkChoices(index.element("choices"), origin, expectedChoices);
  onUsage?.(usageCounts(index.element("usage")));
  return fitForClient(index, promptDetails);
}

function checkChoices(
  choices: JsonElement | undefined,
  origin: EngineErrorOrigin,
  expectedChoices: number,
): void {
  if (choices?.kind !== "array") throw new EngineStreamError(origin, "malformed");
  let choice = choices.first();
  if (choice === undefined) throw new EngineStreamError(origin, "swallowed");
  let finished = 0;
  for (; choice !== undefined && isFinished(choice); choice = choice.next()) finished += 1;
  if (choice !== undefined || finished < expectedChoices) throw new EngineStreamError(origin, "truncated");
}

function isFinished(choice: JsonElement): boolean {
  const reason = choice.member("finish_reason");
  if (reason?.kind !== "string") return false;
  const text = reason.value();
  return text !== "" && !isBrokenFinish(text);
}

/**
 * The same for an answer whose shape is not known here, for example embeddings.
 *
 * @throws EngineResponseError for an error object under status 200; EngineStreamError when it is no JSON object
 */
export function forwardedAnswer(body: Buffer, origin: EngineErrorOrigin): Uint8Array {
  const index = scanAnswer(body, origin);
  // A response of the Responses API tells of its own failure, and has an id: it is an answer.
  if (hasError(index) && !index.has("id")) throw errorObject(index, origin);
  return fitForClient(index, undefined);
}

function scanAnswer(body: Buffer, origin: EngineErrorOrigin): JsonObjectIndex {
  try {
    return scanJsonObject(body);
  } catch (cause) {
    throw new EngineStreamError(origin, "malformed", { cause });
  }
}

function hasError(index: JsonObjectIndex): boolean {
  const kind = index.kind("error");
  return kind === "object" || kind === "string";
}

function errorObject(index: JsonObjectIndex, origin: EngineErrorOrigin): EngineResponseError {
  const status = errorEventStatus({ error: index.value("error") });
  return engineErrorResponse(origin, status, undefined, index.bytes);
}

function fitForClient(index: JsonObjectIndex, promptDetails: (() => PromptDetails) | undefined): Uint8Array {
  const edits = editsForClient(index, promptDetails, false);
  return edits === undefined ? index.bytes : splicedJson(index, edits);
}
