import { ConfigurationError } from "../errors/configuration-error.ts";
import type { RawJson } from "../protocol/raw-json.ts";
import { isJsonObject, showJson } from "./handle-check.ts";
import type {
  ConnectorRequest,
  KvConnector,
  PeerMetadata,
  PrefillResponse,
  RequestEdits,
  KvTransferConfig,
} from "./kv-connector.ts";

/**
 * vLLM's `MultiConnector`: several connectors in one engine. Requests look as its first one wants them. Mirrors
 * Ray's `MultiConnectorBackend`.
 */
export class MultiConnector implements KvConnector {
  readonly name = "MultiConnector";
  readonly requiresPeerBinding: boolean;
  readonly concurrentHandoff: boolean;
  readonly requiresHandle: boolean;
  readonly metadataSource: KvConnector["metadataSource"];
  readonly decodeNeedsPrefill: boolean | undefined;
  readonly endpointMetadata: KvConnector["endpointMetadata"];
  readonly #first: KvConnector;

  constructor(first: KvConnector) {
    this.#first = first;
    this.requiresPeerBinding = first.requiresPeerBinding;
    this.concurrentHandoff = first.concurrentHandoff;
    this.requiresHandle = first.requiresHandle;
    this.metadataSource = first.metadataSource;
    this.decodeNeedsPrefill = first.decodeNeedsPrefill;
    this.endpointMetadata = first.endpointMetadata;
  }

  preparePrefillRequest(request: ConnectorRequest, peer: PeerMetadata | undefined): RequestEdits {
    return this.#first.preparePrefillRequest(request, peer);
  }

  prepareDecodeRequest(
    request: ConnectorRequest,
    peer: PeerMetadata | undefined,
    prefill: PrefillResponse | undefined,
  ): RequestEdits {
    return this.#first.prepareDecodeRequest(request, peer, prefill);
  }

  checkHandle(handle: RawJson): string | undefined {
    return this.#first.checkHandle?.(handle);
  }
}

/**
 * The configurations of the connectors in a MultiConnector, in order: the parent's keys but
 * `kv_connector_extra_config`, overlaid by the connector's own. Never empty.
 *
 * @throws ConfigurationError when there is none, one has no name, or one is a MultiConnector, with Ray's texts
 */
export function subConnectorConfigs(
  kvTransferConfig: KvTransferConfig,
): readonly [KvTransferConfig, ...KvTransferConfig[]] {
  const { kv_connector_extra_config: extra, ...parent } = kvTransferConfig;
  const connectors = isJsonObject(extra) ? extra["connectors"] : undefined;
  const [first, ...others] = Array.isArray(connectors) ? (connectors as readonly unknown[]) : [];
  if (first === undefined) {
    throw invalid(
      [],
      "MultiConnector requires at least one sub-connector in kv_connector_extra_config.connectors.",
      connectors,
    );
  }
  const check = (connector: unknown, index: number): KvTransferConfig => ({
    ...parent,
    ...requireSub(connector, index),
  });
  return [check(first, 0), ...others.map((connector, index) => check(connector, index + 1))];
}

function requireSub(connector: unknown, index: number): KvTransferConfig {
  if (!isJsonObject(connector))
    throw invalid([index], "a sub-connector is an object with kv_connector", connector);
  const name = connector["kv_connector"];
  if (name === undefined || name === null || name === "") {
    throw invalid([index], "kv_connector is not set in the connector", name);
  }
  if (name === "MultiConnector") {
    throw invalid([index], "Nesting MultiConnector within MultiConnector is not supported.", name);
  }
  return connector;
}

function invalid(path: readonly number[], message: string, received: unknown): ConfigurationError {
  return new ConfigurationError("KV transfer configuration", [
    {
      path: ["kv_transfer_config", "kv_connector_extra_config", "connectors", ...path],
      message,
      type: "value_error",
      received: showJson(received),
    },
  ]);
}
