import type {
  ConnectorRequest,
  KvConnector,
  PeerMetadata,
  RequestEdits,
  KvConnectorContext,
} from "./kv-connector.ts";
import { addressedRequestId, requestUid, requirePeerText } from "./peer-address.ts";
import { PrefillRequest, withEdits } from "./prefill-request.ts";

const prefillRequest = new PrefillRequest({}, ["kv_transfer_params"]);

/**
 * vLLM's `P2pNcclConnector` (until about 0.22): the request id names both engines' KV addresses, and that is all;
 * no `kv_transfer_params`. Sequential. Ray has no backend for it and sends its default protocol, which moves
 * nothing.
 *
 * Metadata of a replica: `zmq_address`, the `ip:port` of its KV port (not of HTTP). Engines that randomise request
 * ids need `VLLM_DISABLE_REQUEST_ID_RANDOMIZATION=1` on both sides.
 */
export class P2pNcclConnector implements KvConnector {
  readonly name = "P2pNcclConnector";
  readonly requiresPeerBinding = true;
  readonly concurrentHandoff = false;
  readonly requiresHandle = false;
  readonly decodeNeedsPrefill = true;
  readonly endpointMetadata = ["zmq_address"];
  readonly #decodeMetadata: PeerMetadata | undefined;

  constructor(context: KvConnectorContext = {}) {
    this.#decodeMetadata = context.decodeMetadata;
  }

  preparePrefillRequest(request: ConnectorRequest, peer: PeerMetadata | undefined): RequestEdits {
    return withEdits(prefillRequest.editsFor(request), { requestId: this.#requestId(request, peer) });
  }

  prepareDecodeRequest(request: ConnectorRequest, peer: PeerMetadata | undefined): RequestEdits {
    return { requestId: this.#requestId(request, peer) };
  }

  #requestId(request: ConnectorRequest, peer: PeerMetadata | undefined): string {
    const decode = request.decodePeer ?? this.#decodeMetadata;
    return addressedRequestId(
      requirePeerText(peer, "zmq_address", missing("prefill")),
      requirePeerText(decode, "zmq_address", missing("decode")),
      requestUid(request.requestId),
    );
  }
}

function missing(role: string): string {
  return `P2pNcclConnector needs the KV address (ip:port) of the ${role} replica: give its endpoint the metadata "zmq_address".`;
}
