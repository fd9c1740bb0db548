import type { RawJson } from "../protocol/raw-json.ts";
import { DefaultConnector } from "./default-connector.ts";
import { hasBlockId, isJsonObject, showJson } from "./handle-check.ts";
import type { KvConnector } from "./kv-connector.ts";

const addressFields = ["remote_engine_id", "remote_host", "remote_port"] as const;

/** Keys that vLLM added together with, or after, `remote_request_id` (#29665). */
const newerFields = [
  "remote_num_tokens",
  "remote_blocks_expiry_time",
  "transfer_mode",
  "dcp_size",
  "pp_size",
];

/**
 * vLLM's `NixlConnector` (pull): prefill pins its blocks and answers with their address, decode reads them.
 * Sequential; the handle is opaque and used once. Mirrors Ray's `NixlConnectorBackend`.
 */
export class NixlConnector extends DefaultConnector implements KvConnector {
  override readonly requiresHandle = true;

  /** @param name `NixlConnector`, or its alias `NixlPullConnector` */
  constructor(name = "NixlConnector") {
    super(name);
  }

  /**
   * Refuses what is known to crash or hang a decode engine: `do_remote_prefill` without blocks hits an assertion
   * that ends vLLM's EngineCore, and a missing address parks the request for ever.
   *
   * Tolerant where versions differ: block ids flat or in a list per KV-cache group, some groups empty;
   * `remote_request_id` is asked for only when the handle shows a key of the versions that have it.
   */
  checkHandle(handle: RawJson): string | undefined {
    const value = handle.value;
    if (!isJsonObject(value)) return `kv_transfer_params is ${showJson(value)}, expected an object`;
    if (value["do_remote_prefill"] !== true) {
      return `do_remote_prefill is ${showJson(value["do_remote_prefill"])}, expected true`;
    }
    if (!hasBlockId(value["remote_block_ids"])) {
      return `remote_block_ids is ${showJson(value["remote_block_ids"])}, expected at least one block id`;
    }
    for (const field of addressFields) {
      if (value[field] === undefined || value[field] === null) return `${field} is ${showJson(value[field])}`;
    }
    const newer = newerFields.find((field) => value[field] !== undefined);
    if (
      newer !== undefined &&
      (value["remote_request_id"] === undefined || value["remote_request_id"] === null)
    ) {
      return `remote_request_id is ${showJson(value["remote_request_id"])} beside ${newer}`;
    }
    return undefined;
  }
}
