import type { RawJson } from "../protocol/raw-json.ts";
import { DefaultConnector } from "./default-connector.ts";
import { handleFields, hasBlockId, isGiven, showJson } from "./handle-check.ts";
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
    const fields = handleFields(handle);
    if (fields === undefined) return `kv_transfer_params is ${showJson(handle.value)}, expected an object`;
    const shown = (name: string): string => `${name} is ${showJson(fields.get(name)?.value())}`;
    if (fields.get("do_remote_prefill")?.value() !== true)
      return `${shown("do_remote_prefill")}, expected true`;
    if (!hasBlockId(fields.get("remote_block_ids")))
      return `${shown("remote_block_ids")}, expected at least one block id`;
    for (const field of addressFields) if (!isGiven(fields.get(field))) return shown(field);
    if (!isGiven(fields.get("remote_request_id"))) {
      const newer = newerFields.find((field) => fields.has(field));
      if (newer !== undefined) return `${shown("remote_request_id")} beside ${newer}`;
    }
    return undefined;
  }
}
