import { isUtf8 } from "node:buffer";
import { RequestError } from "../errors/request-error.ts";
import type { GenerateMethod } from "../kv-transfer/kv-connector.ts";
import { promptCount } from "../llm/disaggregation-decision.ts";
import { type JsonKind, type JsonObjectIndex, scanJsonObject } from "../protocol/json-object-index.ts";
import { JsonScanError } from "../protocol/json-scanner.ts";
import { refuseInternalFields, refusedFields } from "./client-field-policy.ts";

/** What the ingress knows of a generation request's body. */
export interface ParsedBody {
  readonly body: JsonObjectIndex;
  /** Undefined when the client named none. */
  readonly model: string | undefined;
  readonly stream: boolean;
  readonly expectedChoices: number;
  readonly priority: number;
}

const text: readonly JsonKind[] = ["string"];
const list: readonly JsonKind[] = ["array"];
const flag: readonly JsonKind[] = ["boolean", "null"];
const number: readonly JsonKind[] = ["number", "null"];
const object: readonly JsonKind[] = ["object", "null"];
const stops: readonly JsonKind[] = ["string", "array", "null"];

/**
 * Kinds of the fields we act on or that clients most often get wrong. Strict where pydantic is lax: `"true"` for
 * `stream` would make the engine stream without us knowing.
 */
const sharedKinds: Readonly<Record<string, readonly JsonKind[]>> = {
  model: ["string", "null"],
  stream: flag,
  stream_options: object,
  n: number,
  max_tokens: number,
  min_tokens: number,
  temperature: number,
  top_p: number,
  top_k: number,
  frequency_penalty: number,
  presence_penalty: number,
  seed: number,
  priority: number,
  stop: stops,
  stop_token_ids: ["array", "null"],
  logit_bias: object,
  user: ["string", "null"],
  use_beam_search: flag,
  ignore_eos: flag,
};

const kindsByMethod: Readonly<Record<GenerateMethod, Readonly<Record<string, readonly JsonKind[]>>>> = {
  chat: {
    ...sharedKinds,
    messages: list,
    max_completion_tokens: number,
    tools: ["array", "null"],
    tool_choice: ["string", "object", "null"],
    response_format: object,
    logprobs: flag,
    top_logprobs: number,
    echo: flag,
  },
  completions: {
    ...sharedKinds,
    prompt: [...text, ...list, "null"],
    best_of: number,
    echo: flag,
    logprobs: number,
  },
};

const requiredField: Readonly<Record<GenerateMethod, string>> = { chat: "messages", completions: "prompt" };

/**
 * Reads a body as far as serving it needs, and refuses what no engine should see.
 *
 * @throws RequestError 400 naming the field, what was expected and what came
 */
export function parseGenerationBody(bytes: Uint8Array, method: GenerateMethod): ParsedBody {
  const body = scan(bytes);
  refuseInternalFields(body);
  const required = requiredField[method];
  if (!body.has(required) && !(method === "completions" && body.has("prompt_embeds"))) {
    throw new RequestError(`Missing required field \`${required}\`.`, { param: required, code: "missing_field" });
  }
  checkKinds(body, kindsByMethod[method]);
  const model = body.value("model");
  const priority = body.value("priority");
  return {
    body,
    model: typeof model === "string" ? model : undefined,
    stream: body.value("stream") === true,
    expectedChoices: expectedChoices(body, method),
    priority: typeof priority === "number" ? priority : 0,
  };
}

function scan(bytes: Uint8Array): JsonObjectIndex {
  if (bytes.byteLength === 0) throw invalidJson("the body is empty");
  if (!isUtf8(bytes)) throw invalidJson("the body is not UTF-8");
  try {
    return scanJsonObject(bytes, { forbiddenKeys: refusedFields });
  } catch (error) {
    if (error instanceof JsonScanError) throw invalidJson(error.message);
    throw error;
  }
}

function checkKinds(body: JsonObjectIndex, kinds: Readonly<Record<string, readonly JsonKind[]>>): void {
  for (const { key } of body.members) {
    const allowed = kinds[key];
    if (allowed === undefined) continue;
    const kind = body.kind(key)!;
    if (!allowed.includes(kind)) {
      throw new RequestError(`\`${key}\` must be ${allowed.join(" or ")}, got ${kind}.`, {
        param: key,
        code: "invalid_type",
      });
    }
  }
}

function expectedChoices(body: JsonObjectIndex, method: GenerateMethod): number {
  const n = body.value("n");
  const each = typeof n === "number" && n > 1 ? Math.floor(n) : 1;
  return method === "chat" ? each : each * Math.max(1, promptCount(body.kind("prompt"), () => body.value("prompt")));
}

function invalidJson(reason: string): RequestError {
  return new RequestError(`The request body is not a valid JSON object: ${reason}.`, { code: "invalid_json" });
}
