import { RequestError } from "../errors/request-error.ts";
import { RawJson } from "../protocol/raw-json.ts";
import type { ConnectorRequest, RequestEdits } from "./kv-connector.ts";

const one = RawJson.fromText("1");
const no = RawJson.fromText("false");

/**
 * Fields that would break or bloat a prefill of one token, and that never change the rendered prompt or the
 * cache key.
 *
 * Ray 2.58.0 leaves all of these in, except `stream_options`, which it sends as null. We remove them:
 *
 * - `min_tokens`, `min_completion_tokens`: vLLM answers 400 when they exceed `max_tokens`, which is now 1.
 * - `stream_options`: vLLM allows it only beside `stream: true`.
 * - `n`, `best_of`, `use_beam_search`: one answer carries one `kv_transfer_params`.
 * - `logprobs`, `top_logprobs`, `prompt_logprobs`, `echo`: their results come from decode; here they only cost.
 * - `stop`, `stop_token_ids`: a match on the first token makes vLLM free the KV it should have kept.
 * - `return_token_ids`: as many token ids as the prompt has, for nobody.
 * - `metadata`, `store`: for whoever keeps answers; prefill's answer is thrown away.
 */
export const prefillRemovedFields: readonly string[] = Object.freeze([
  "min_tokens",
  "min_completion_tokens",
  "stream_options",
  "n",
  "best_of",
  "use_beam_search",
  "logprobs",
  "top_logprobs",
  "prompt_logprobs",
  "echo",
  "stop",
  "stop_token_ids",
  "return_token_ids",
  "metadata",
  "store",
]);

/**
 * Makes a request of any method into a prefill of exactly one token, not streamed. Ray's
 * `DefaultPDProtocolMixin.prepare_prefill_request`, plus {@link prefillRemovedFields}.
 *
 * Both token limits are set for chat; for completions `max_completion_tokens` only when the client sent it,
 * because it is no field of that API.
 */
export class PrefillRequest {
  readonly #bothLimits: RequestEdits;
  readonly #oneLimit: RequestEdits;

  /**
   * @param fields more fields to set, the same for every request: encoded once, here
   * @param removed more fields to remove
   */
  constructor(fields: Readonly<Record<string, unknown>>, removed: readonly string[] = []) {
    const remove = removed.length === 0 ? prefillRemovedFields : [...prefillRemovedFields, ...removed];
    const set: Record<string, RawJson> = {};
    for (const [name, value] of Object.entries(fields)) set[name] = encode(value);
    set["max_tokens"] = one;
    set["stream"] = no;
    this.#oneLimit = Object.freeze({ set: Object.freeze({ ...set }), remove });
    set["max_completion_tokens"] = one;
    this.#bothLimits = Object.freeze({ set: Object.freeze(set), remove });
  }

  /**
   * The edits of one request. The same object for many requests: do not change it.
   *
   * @throws RequestError when the client sent `kv_transfer_params` (Ray: AssertionError
   *   `kv_transfer_params should be empty before orchestrator`, a 500)
   */
  editsFor(request: ConnectorRequest): RequestEdits {
    refuseClientKvTransferParams(request);
    return request.method === "chat" || request.has("max_completion_tokens")
      ? this.#bothLimits
      : this.#oneLimit;
  }
}

/** Adds edits of one request to the constant ones. */
export function withEdits(base: RequestEdits, more: RequestEdits): RequestEdits {
  return {
    set: more.set === undefined ? base.set : { ...base.set, ...more.set },
    remove: more.remove === undefined ? base.remove : [...(base.remove ?? []), ...more.remove],
    headers: more.headers ?? base.headers,
    requestId: more.requestId ?? base.requestId,
  };
}

/**
 * A handle from a client could crash a decode engine or read another client's KV (vLLM #52234), so that no
 * connector lets one pass, however it got here.
 */
function refuseClientKvTransferParams(request: ConnectorRequest): void {
  if (!request.has("kv_transfer_params")) return;
  const value = request.get("kv_transfer_params");
  if (value === null || value === undefined) return;
  throw new RequestError("kv_transfer_params should be empty before orchestrator: clients may not send it.", {
    param: "kv_transfer_params",
    code: "field_not_allowed",
  });
}

function encode(value: unknown): RawJson {
  return value instanceof RawJson ? value : RawJson.fromText(JSON.stringify(value));
}
