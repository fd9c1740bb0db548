import { scanJsonObject } from "../protocol/json-object-index.ts";
import { splicedJson } from "../protocol/json-splice.ts";
import { RawJson } from "../protocol/raw-json.ts";
import type { GenerateMethod, KvConnector, RequestEdits } from "./kv-connector.ts";
import { withEdits } from "./prefill-request.ts";

const yes = RawJson.fromText("true");
const tokenIdsAsked: RequestEdits = Object.freeze({ set: Object.freeze({ return_token_ids: yes }) });

/**
 * Prefill's edits with its token ids asked for, so that decode need not tokenise again. Only where decode waits for
 * prefill's answer. Mirrors what Ray's `pd_tokenize_once` sets.
 */
export function askForTokenIds(connector: KvConnector, edits: RequestEdits): RequestEdits {
  return connector.concurrentHandoff ? edits : withEdits(edits, tokenIdsAsked);
}

/**
 * Decode's edits with the prompt as token ids: a completion's prompt is replaced; for chat they travel in
 * `kv_transfer_params.prompt_token_ids`, and the messages stay, because vLLM still asks for them. Without a handle
 * chat has no place for them and is left as it is. Needs a vLLM that reads them (#48145).
 *
 * @param tokenIds the array prefill answered, byte for byte
 */
export function passTokenIds(method: GenerateMethod, edits: RequestEdits, tokenIds: RawJson): RequestEdits {
  if (method === "completions") return withEdits(edits, { set: { prompt: tokenIds } });
  const handle = edits.set?.["kv_transfer_params"];
  if (!(handle instanceof RawJson)) return edits;
  const withIds = splicedJson(scanJsonObject(handle.bytes), { set: { prompt_token_ids: tokenIds } });
  return withEdits(edits, { set: { kv_transfer_params: new RawJson(withIds) } });
}
