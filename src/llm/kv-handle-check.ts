import { KvTransferError } from "../errors/kv-transfer-error.ts";
import { handleFields } from "../kv-transfer/handle-check.ts";
import type { KvConnector } from "../kv-transfer/kv-connector.ts";
import type { JsonElement } from "../protocol/json-element.ts";
import type { RawJson } from "../protocol/raw-json.ts";
import type { Replica } from "../replicas/replica.ts";

/** A handle larger than this is no list of blocks any more. */
const maxHandleBytes = 1024 * 1024;

/** A handle that may be sent to decode. */
export interface CheckedHandle {
  /** `remote_engine_id`: changes when the prefill engine restarts. */
  readonly engineId: string | undefined;
}

/**
 * Decides whether what prefill returned may be handed to a decode engine: a wrong handle can crash it, hang it, or
 * make it read somebody else's KV.
 *
 * @returns undefined when there is no handle and the connector needs none
 * @throws KvTransferError
 */
export function checkKvHandle(
  handle: RawJson | undefined,
  connector: KvConnector,
  replica: Replica,
  hostAllowlist: ReadonlySet<string> | undefined,
): CheckedHandle | undefined {
  const origin = { replica: replica.fullName };
  if (handle === undefined) {
    if (!connector.requiresHandle) return undefined;
    throw new KvTransferError("missing", "prefill returned no kv_transfer_params", origin);
  }
  if (handle.bytes.byteLength > maxHandleBytes) {
    throw new KvTransferError("invalid", `kv_transfer_params is larger than ${maxHandleBytes} bytes`, origin);
  }
  const reason = connector.checkHandle?.(handle);
  if (reason !== undefined) throw new KvTransferError("invalid", reason, origin);
  const fields = handleFields(handle);
  if (fields === undefined)
    throw new KvTransferError("invalid", "kv_transfer_params is not an object", origin);
  const host = textOf(fields.get("remote_host"));
  if (hostAllowlist !== undefined && (host === undefined || !hostAllowlist.has(host))) {
    throw new KvTransferError(
      "host_not_allowed",
      "kv_transfer_params names a host that is not allowed",
      origin,
    );
  }
  const engineId = textOf(fields.get("remote_engine_id"));
  // It stays as long as the stream does.
  handle.forgetElement();
  return { engineId };
}

function textOf(field: JsonElement | undefined): string | undefined {
  return field?.kind === "string" ? (field.value() as string) : undefined;
}
