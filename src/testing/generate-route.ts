import type { AnswerWriter } from "./answer-writer.ts";
import type { EngineCore } from "./engine-core.ts";
import { badRequest, engineDeadError, EngineRefusal, validationError } from "./engine-refusal.ts";
import type { Fault, MockPhase } from "./fault-plan.ts";
import { Generation } from "./generation.ts";
import { phaseOf, readGenerationRequest, type GenerationRequest } from "./generation-request.ts";
import { readKvParams, type KvParams } from "./kv-params.ts";
import type { JournalEntry } from "./request-journal.ts";
import { checkFields, type GenerateKind, type RequestBody } from "./request-fields.ts";

/** Part a request plays, from its body and its id, whatever else is wrong with it. */
export function phaseOfRequest(core: EngineCore, { body, headers }: JournalEntry): MockPhase {
  const kv = kvOf(core, body, "", firstOf(headers["x-request-id"]) ?? idOf(body));
  return phaseOf(kv === "unreadable" ? undefined : kv);
}

/** What a request asks of the KV connector. */
function kvOf(
  core: EngineCore,
  body: unknown,
  bodyText: string,
  requestId: string | undefined,
): KvParams | undefined | "unreadable" {
  const params =
    typeof body === "object" && body !== null ? (body as RequestBody)["kv_transfer_params"] : undefined;
  return core.connector.read(readKvParams(params, bodyText), requestId, core.kvAddress);
}

/**
 * Answers `/v1/chat/completions` and `/v1/completions`. Returns what to do when the client leaves.
 *
 * @param body the parsed body; undefined when it is not JSON
 */
export function generate(
  core: EngineCore,
  kind: GenerateKind,
  writer: AnswerWriter,
  body: unknown,
  fault: Fault | undefined,
): (() => void) | undefined {
  if (core.dead) {
    refuse(writer, engineDeadError());
    return undefined;
  }
  const { bodyText, headers } = writer.entry;
  const externalId = firstOf(headers["x-request-id"]) ?? idOf(body);
  const kv = kvOf(core, body, bodyText, externalId);
  if (kv === "unreadable") {
    refuse(writer, engineDeadError());
    core.onDeath();
    return undefined;
  }
  let request: GenerationRequest;
  try {
    const fields = checkFields(kind, requireJson(headers["content-type"], bodyText, body));
    const model = typeof fields["model"] === "string" ? fields["model"] : "";
    const adapter = core.adapters.has(model) ? model : undefined;
    if (model !== "" && adapter === undefined && model !== core.options.model) throw unknownModel(model);
    request = readGenerationRequest(kind, fields, {
      maxModelLen: core.options.maxModelLen,
      defaultMaxTokens: core.options.defaultMaxTokens,
      tokenIds: core.options.tokenIds,
      adapter,
      kv,
    });
  } catch (error) {
    if (!(error instanceof EngineRefusal)) throw error;
    refuse(writer, error);
    core.releaseHandle(kv);
    return undefined;
  }
  if (fault?.kind === "wrongFraming") request = { ...request, stream: !request.stream };
  const refusal = refusedByEngine(core, externalId, readRank(headers["x-data-parallel-rank"]) ?? 0);
  if (refusal !== undefined) {
    if (request.stream) {
      // The engine sees the request only when the stream has begun.
      writer.head(200, { "content-type": "text/event-stream; charset=utf-8" });
      writer.write(refusal.frames());
      writer.end();
    } else {
      refuse(writer, refusal);
    }
    core.releaseHandle(request.kv);
    return undefined;
  }
  const ids = { requestId: externalId ?? core.random.id(), externalId };
  const generation = new Generation(core, writer, request, ids, fault);
  generation.start();
  return () => generation.abort();
}

function refuse(writer: AnswerWriter, error: EngineRefusal): void {
  writer.json(error.status, error.body());
}

function requireJson(contentType: string | undefined, bodyText: string, body: unknown): unknown {
  const type = (contentType ?? "").split(";")[0]?.trim().toLowerCase();
  if (type !== "application/json") {
    const message = "1 validation error(s):\n  Unsupported Media Type: Only 'application/json' is allowed";
    throw new EngineRefusal(400, "Bad Request", message);
  }
  if (bodyText === "") {
    throw validationError([{ type: "missing", loc: ["body"], msg: "Field required", input: null }]);
  }
  if (body === undefined) throw jsonError(bodyText);
  return body;
}

function jsonError(bodyText: string): EngineRefusal {
  // Python names the place of the error; JSON.parse does so in some versions only, so it is the end everywhere.
  const loc = ["body", bodyText.length];
  const ctx = { error: "Expecting value" };
  return validationError([{ type: "json_invalid", loc, msg: "JSON decode error", input: {}, ctx }]);
}

/** vLLM's answer to a model it does not serve. */
export function unknownModel(model: string): EngineRefusal {
  return new EngineRefusal(404, "NotFoundError", `The model \`${model}\` does not exist.`, "model");
}

function refusedByEngine(
  core: EngineCore,
  requestId: string | undefined,
  rank: number,
): EngineRefusal | undefined {
  if (rank < 0 || rank >= core.options.dataParallelSize) {
    return badRequest(`data_parallel_rank ${rank} is out of range [0, ${core.options.dataParallelSize}).`);
  }
  if (requestId !== undefined && core.options.rejectDuplicateRequestIds && core.requestIds.has(requestId)) {
    return badRequest(`Request id ${requestId} already running.`);
  }
  return undefined;
}

/** The rank that `X-data-parallel-rank` names; undefined when it is no integer, which vLLM ignores. */
export function readRank(header: string | string[] | undefined): number | undefined {
  const text = firstOf(header);
  return text !== undefined && /^\s*[+-]?\d+\s*$/.test(text) ? Number(text) : undefined;
}

function idOf(body: unknown): string | undefined {
  const id = typeof body === "object" && body !== null ? (body as RequestBody)["request_id"] : undefined;
  return typeof id === "string" && id !== "" ? id : undefined;
}

function firstOf(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}
