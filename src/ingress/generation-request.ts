import { RequestError } from "../errors/request-error.ts";
import type { GenerateMethod } from "../kv-transfer/kv-connector.ts";
import { expectedChoicesOf } from "../llm/llm-request.ts";
import type { JsonObjectIndex } from "../protocol/json-object-index.ts";
import { jsonRules } from "./body-rules.ts";
import { type JsonBody, type JsonBodyScan, parseJsonBody } from "./json-body.ts";
import type { MediaPolicy } from "./media-policy.ts";

/** What the ingress knows of a generation request's body. */
export interface ParsedBody extends JsonBody {
  readonly expectedChoices: number;
}

/** What one request may ask of the engines. More is refused, never cut down. No limits by default. */
export interface RequestLimits {
  /** Choices: `n` for each prompt. 1 or more. */
  readonly maxChoices?: number | undefined;
  /** Messages of a chat. 1 or more. */
  readonly maxMessages?: number | undefined;
  /** Tokens of an answer: `max_tokens` and `max_completion_tokens`. 1 or more. */
  readonly maxOutputTokens?: number | undefined;
}

/**
 * Reads a body as far as serving it needs, and refuses what no engine should see.
 *
 * @param scan that has seen the body arrive
 * @param media says which URLs it may have; all when left out
 * @throws RequestError 400 naming the fields at fault, what was expected and what kind of thing came, or a URL that is
 *   not allowed
 */
export function parseGenerationBody(
  bytes: Uint8Array,
  method: GenerateMethod,
  limits: RequestLimits = {},
  scan?: JsonBodyScan,
  media?: MediaPolicy,
): ParsedBody {
  const parsed = parseJsonBody(bytes, jsonRules[method], scan);
  const choices = expectedChoicesOf(parsed.body, method);
  checkLimits(parsed.body, choices, limits);
  media?.check(parsed.body);
  return {
    body: parsed.body,
    model: parsed.model,
    stream: parsed.stream,
    priority: parsed.priority,
    expectedChoices: choices,
  };
}

function checkLimits(body: JsonObjectIndex, choices: number, limits: RequestLimits): void {
  const { maxChoices, maxMessages, maxOutputTokens } = limits;
  if (maxChoices !== undefined && choices > maxChoices) throw beyond("n", "choices", maxChoices);
  if (maxMessages !== undefined) {
    let count = 0;
    body.element("messages")?.eachElement(() => (count += 1) <= maxMessages);
    if (count > maxMessages) throw beyond("messages", "messages", maxMessages);
  }
  if (maxOutputTokens === undefined) return;
  for (const name of ["max_tokens", "max_completion_tokens"]) {
    if (Number(body.value(name) ?? 0) > maxOutputTokens) throw beyond(name, "tokens", maxOutputTokens);
  }
}

function beyond(param: string, what: string, limit: number): RequestError {
  return new RequestError(`\`${param}\` asks for more than ${limit} ${what}, the most allowed here.`, {
    param,
    code: "limit_exceeded",
  });
}
