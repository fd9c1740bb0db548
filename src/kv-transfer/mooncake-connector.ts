import type { ConnectorRequest, KvConnector, PeerMetadata, RequestEdits } from "./kv-connector.ts";
import { peerInteger, requirePeerText } from "./peer-address.ts";
import { PrefillRequest, withEdits } from "./prefill-request.ts";

// An end-of-sequence as prefill's only token would drop the blocks while decode waits minutes for them.
const prefillRequest = new PrefillRequest({ ignore_eos: true });

/**
 * vLLM's `MooncakeConnector`: both legs start at once and meet by `transfer_id`; decode finds prefill through its
 * bootstrap server. Ray has no backend for it and sends its default protocol, which moves nothing.
 *
 * Metadata of a prefill replica, from `GET {bootstrap}/query`: `bootstrap_addr` (for example
 * `http://10.0.0.7:8998`), `engine_id`, and `dp_rank` when it is one rank of several. `engine_id` changes when the
 * engine restarts.
 */
export class MooncakeConnector implements KvConnector {
  readonly name = "MooncakeConnector";
  readonly requiresPeerBinding = true;
  readonly concurrentHandoff = true;
  readonly requiresHandle = false;
  readonly metadataSource = "mooncake-bootstrap";

  preparePrefillRequest(request: ConnectorRequest, peer: PeerMetadata | undefined): RequestEdits {
    const hasRank = peer?.["dp_rank"] !== undefined && peer["dp_rank"] !== null;
    return withEdits(prefillRequest.editsFor(request), {
      set: {
        kv_transfer_params: {
          do_remote_decode: true,
          do_remote_prefill: false,
          transfer_id: transferId(request),
        },
      },
      headers: hasRank ? { "x-data-parallel-rank": String(peerInteger(peer, "dp_rank", 0)) } : undefined,
    });
  }

  prepareDecodeRequest(request: ConnectorRequest, peer: PeerMetadata | undefined): RequestEdits {
    return {
      set: {
        kv_transfer_params: {
          do_remote_decode: false,
          do_remote_prefill: true,
          remote_bootstrap_addr: requirePeerText(peer, "bootstrap_addr", missing("bootstrap_addr")),
          remote_engine_id: requirePeerText(peer, "engine_id", missing("engine_id")),
          transfer_id: transferId(request),
        },
      },
    };
  }
}

function transferId(request: ConnectorRequest): string {
  return `xfer-${request.requestId}`;
}

function missing(field: string): string {
  return `MooncakeConnector needs the metadata "${field}" of the chosen prefill replica.`;
}
