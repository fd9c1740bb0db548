import { RawJson } from "../protocol/raw-json.ts";
import type {
  ConnectorRequest,
  KvConnector,
  PeerMetadata,
  PrefillResponse,
  RequestEdits,
} from "./kv-connector.ts";
import { PrefillRequest } from "./prefill-request.ts";

/**
 * What tells a prefill engine to keep its KV for somebody else. Current vLLM reads `do_remote_decode` only; the
 * six keys are what Ray sends and older engines need.
 */
export const remoteDecodeParams: RawJson = RawJson.fromText(
  '{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,' +
    '"remote_host":null,"remote_port":null}',
);

const noEdits: RequestEdits = Object.freeze({});
const prefillRequest = new PrefillRequest({ kv_transfer_params: remoteDecodeParams });

/**
 * Ray's default protocol for connectors it does not know, and for stores that all engines share: prefill with
 * `do_remote_decode`, then decode with whatever prefill answered, verbatim. An answer without a handle is normal
 * here (the KV may move through a store). Mirrors `DefaultConnectorBackend`.
 */
export class DefaultConnector implements KvConnector {
  readonly name: string;
  readonly requiresPeerBinding = false;
  readonly concurrentHandoff = false;
  readonly requiresHandle: boolean = false;

  /** @param name the connector as the configuration calls it */
  constructor(name = "DefaultConnector") {
    this.name = name;
  }

  preparePrefillRequest(request: ConnectorRequest): RequestEdits {
    return prefillRequest.editsFor(request);
  }

  prepareDecodeRequest(
    _request: ConnectorRequest,
    _peer: PeerMetadata | undefined,
    prefill: PrefillResponse | undefined,
  ): RequestEdits {
    return decodeWithHandle(prefill);
  }
}

/** Decode's edits in the default protocol: prefill's handle byte for byte, nothing when there is none. */
export function decodeWithHandle(prefill: PrefillResponse | undefined): RequestEdits {
  const handle = prefill?.kvTransferParams;
  return handle === undefined ? noEdits : { set: { kv_transfer_params: handle } };
}
