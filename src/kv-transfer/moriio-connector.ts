import { ConfigurationError } from "../errors/configuration-error.ts";
import { scanJsonObject } from "../protocol/json-object-index.ts";
import { splicedJson } from "../protocol/json-splice.ts";
import { RawJson } from "../protocol/raw-json.ts";
import { handleFields, hasBlockId, isJsonObject, showJson } from "./handle-check.ts";
import type {
  ConnectorRequest,
  KvConnector,
  PeerMetadata,
  PrefillResponse,
  RequestEdits,
  KvConnectorContext,
  KvTransferConfig,
} from "./kv-connector.ts";
import { addressedRequestId, peerInteger, requestUid, requirePeerText } from "./peer-address.ts";
import { PrefillRequest, withEdits } from "./prefill-request.ts";

const prefillRequest = new PrefillRequest({});
const peerMissing =
  "MoRIIO peer is missing 'mori_zmq_address': the selected prefill replica did not publish its address " +
  "(is MoRIIOConnector configured on the prefill deployment?).";
const decodeMissing =
  "MoRIIO decode zmq address is not set: setup() must run on this engine before requests are shaped.";

/**
 * vLLM's `MoRIIOConnector` (ROCm): both engines find each other by addresses in the request id. In WRITE mode (the
 * default) prefill pushes while decode already waits, so both legs start at once; in READ mode decode pulls, and
 * needs the blocks that prefill names. Mirrors Ray's `MoRIIOConnectorBackend`.
 *
 * Metadata of a replica: `mori_zmq_address` (required), `dp_rank` (0), `dp_size` (1), `tp_size` (1).
 */
export class MoriioConnector implements KvConnector {
  readonly name = "MoRIIOConnector";
  readonly requiresPeerBinding = true;
  readonly concurrentHandoff: boolean;
  readonly requiresHandle: boolean;
  readonly endpointMetadata = ["mori_zmq_address"];
  readonly #decodeMetadata: PeerMetadata | undefined;

  /** @throws ConfigurationError when `kv_connector_extra_config.read_mode` is neither true nor false */
  constructor(kvTransferConfig: KvTransferConfig = {}, context: KvConnectorContext = {}) {
    const isRead = readMode(kvTransferConfig);
    this.concurrentHandoff = !isRead;
    this.requiresHandle = isRead;
    this.#decodeMetadata = context.decodeMetadata;
  }

  preparePrefillRequest(request: ConnectorRequest, peer: PeerMetadata | undefined): RequestEdits {
    const base = prefillRequest.editsFor(request);
    const uid = requestUid(request.requestId);
    return withEdits(base, {
      requestId: this.#requestId(request, peer, uid),
      set: {
        kv_transfer_params: {
          do_remote_decode: true,
          do_remote_prefill: false,
          remote_engine_id: null,
          remote_block_ids: null,
          transfer_id: `tx-${uid}`,
          ...remoteRouting(this.#decodePeer(request)),
        },
      },
    });
  }

  prepareDecodeRequest(
    request: ConnectorRequest,
    peer: PeerMetadata | undefined,
    prefill: PrefillResponse | undefined,
  ): RequestEdits {
    const uid = requestUid(request.requestId);
    const requestId = this.#requestId(request, peer, uid);
    if (this.concurrentHandoff) {
      const kv_transfer_params = {
        do_remote_prefill: true,
        do_remote_decode: false,
        remote_engine_id: null,
        remote_block_ids: null,
        transfer_id: `tx-${uid}`,
        ...remoteRouting(peer),
      };
      return { requestId, set: { kv_transfer_params } };
    }
    const handle = prefill?.kvTransferParams;
    if (handle === undefined || this.checkHandle(handle) !== undefined) return { requestId };
    return { requestId, set: { kv_transfer_params: completeHandle(handle, uid, peer) } };
  }

  /** READ mode needs the blocks and the engine that has them; WRITE mode gets no handle at all. */
  checkHandle(handle: RawJson): string | undefined {
    if (this.concurrentHandoff) return undefined;
    const fields = handleFields(handle);
    if (fields === undefined) return `kv_transfer_params is ${showJson(handle.value)}, expected an object`;
    const blockIds = fields.get("remote_block_ids");
    if (!hasBlockId(blockIds))
      return `remote_block_ids is ${showJson(blockIds?.value())}, expected at least one block id`;
    const engineId = fields.get("remote_engine_id")?.value();
    if (engineId === undefined || engineId === null || engineId === "")
      return `remote_engine_id is ${showJson(engineId)}`;
    return undefined;
  }

  #decodePeer(request: ConnectorRequest): PeerMetadata | undefined {
    return request.decodePeer ?? this.#decodeMetadata;
  }

  #requestId(request: ConnectorRequest, peer: PeerMetadata | undefined, uid: string): string {
    const prefillAddress = requirePeerText(peer, "mori_zmq_address", peerMissing);
    const decodeAddress = requirePeerText(this.#decodePeer(request), "mori_zmq_address", decodeMissing);
    return addressedRequestId(prefillAddress, decodeAddress, uid);
  }
}

function remoteRouting(peer: PeerMetadata | undefined): Readonly<Record<string, number>> {
  return {
    remote_dp_rank: peerInteger(peer, "dp_rank", 0),
    remote_dp_size: peerInteger(peer, "dp_size", 1),
    tp_size: peerInteger(peer, "tp_size", 1),
  };
}

/** Prefill's own handle with the direction turned round; everything the engine wrote stays byte for byte. */
function completeHandle(handle: RawJson, uid: string, peer: PeerMetadata | undefined): RawJson {
  const index = scanJsonObject(handle.bytes);
  const set: Record<string, unknown> = {
    do_remote_prefill: true,
    do_remote_decode: false,
    ...remoteRouting(peer),
  };
  if (!index.has("transfer_id")) set["transfer_id"] = `tx-${uid}`;
  return new RawJson(splicedJson(index, { set }));
}

function readMode(kvTransferConfig: KvTransferConfig): boolean {
  const extra = kvTransferConfig["kv_connector_extra_config"];
  const value = isJsonObject(extra) ? extra["read_mode"] : undefined;
  const text = (typeof value === "string" ? value : showJson(value ?? false)).trim().toLowerCase();
  if (text === "true" || text === "1") return true;
  if (text === "false" || text === "0" || text === "") return false;
  // Ray takes everything else for WRITE, and the transfer then fails in the engines.
  throw new ConfigurationError("KV transfer configuration", [
    {
      path: ["kv_transfer_config", "kv_connector_extra_config", "read_mode"],
      message: "read_mode is neither true nor false",
      type: "bool_parsing",
      expected: '"true", "false", "1" or "0"',
      received: showJson(value),
    },
  ]);
}
