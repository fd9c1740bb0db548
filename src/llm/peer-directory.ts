import { isEndpointList } from "../config/endpoint.ts";
import type { LLMConfig } from "../config/llm-config.ts";
import { ConfigurationError, type ConfigIssue } from "../errors/configuration-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { KvConnector, PeerMetadata } from "../kv-transfer/kv-connector.ts";
import type { Replica } from "../replicas/replica.ts";
import type { DeploymentContext } from "../serve/deployment-context.ts";
import { MooncakePeers } from "./mooncake-peers.ts";

/** What the two engines of a handoff publish about themselves. */
export interface PeerBinding {
  readonly prefill: PeerMetadata | undefined;
  readonly decode: PeerMetadata | undefined;
}

/** Knows what engines publish about themselves. Ray: `replica_metadata` of a chosen replica. */
export interface PeerDirectory {
  /**
   * Metadata of the pair that serves a request.
   *
   * @throws EngineError when the prefill engine had to be asked and did not answer
   */
  bind(prefill: Replica, decode: Replica, cancel: CancelToken): PeerBinding | Promise<PeerBinding>;
  /** A call to it failed, or it was restarted: what is known of it may be out of date. */
  forget(prefill: Replica): void;
}

const nothing: PeerBinding = { prefill: undefined, decode: undefined };

/** {@link PeerDirectory.bind}; nothing when the connector needs nothing. */
export function bindPeers(
  peers: PeerDirectory | undefined,
  prefill: Replica,
  decode: Replica,
  cancel: CancelToken,
): PeerBinding | Promise<PeerBinding> {
  return peers === undefined ? nothing : peers.bind(prefill, decode, cancel);
}

/**
 * The directory that a connector needs, if it needs one.
 *
 * @throws ConfigurationError when an endpoint lacks metadata that the connector can't do without
 */
export function peerDirectoryFor(
  connector: KvConnector,
  prefill: LLMConfig,
  decode: LLMConfig,
  context: DeploymentContext,
): PeerDirectory | undefined {
  if (!connector.requiresPeerBinding) return undefined;
  requireMetadata(connector, { prefill, decode });
  return connector.metadataSource === "mooncake-bootstrap"
    ? new MooncakePeers(prefill.client, context.clock)
    : new EndpointPeers(prefill, decode);
}

/** What endpoints carry as `kvMetadata`, and what follows from the configuration. */
class EndpointPeers implements PeerDirectory {
  readonly #prefill: (replica: Replica) => PeerMetadata;
  readonly #decode: (replica: Replica) => PeerMetadata;

  constructor(prefill: LLMConfig, decode: LLMConfig) {
    this.#prefill = metadataBy(prefill);
    this.#decode = metadataBy(decode);
  }

  bind(prefill: Replica, decode: Replica): PeerBinding {
    return { prefill: this.#prefill(prefill), decode: this.#decode(decode) };
  }

  /** Endpoints do not change while they are there. */
  forget(): void {}
}

function metadataBy(config: LLMConfig): (replica: Replica) => PeerMetadata {
  const known = new WeakMap<Replica, PeerMetadata>();
  const shape = {
    dp_size: config.dataParallelSize,
    tp_size: config.engineKwargs["tensor_parallel_size"] ?? 1,
  };
  return (replica) => {
    const before = known.get(replica);
    if (before !== undefined) return before;
    const metadata = { ...shape, dp_rank: replica.rank ?? 0, ...replica.endpoint.kvMetadata };
    known.set(replica, metadata);
    return metadata;
  };
}

/** Endpoints that are found later are checked when a request comes to them. */
function requireMetadata(
  connector: KvConnector,
  sides: { readonly prefill: LLMConfig; readonly decode: LLMConfig },
): void {
  const issues: ConfigIssue[] = [];
  for (const [side, { endpoints }] of Object.entries(sides)) {
    if (!isEndpointList(endpoints)) continue;
    for (const [index, { kvMetadata, url }] of endpoints.entries()) {
      for (const field of connector.endpointMetadata ?? []) {
        const value = kvMetadata?.[field];
        if (typeof value === "string" && value !== "") continue;
        issues.push({
          path: [`${side}Config`, "endpoints", index, "kvMetadata", field],
          message: `${connector.name} needs "${field}" of every ${side} endpoint`,
          type: value === undefined ? "missing" : "string_type",
          expected: `an endpoint object, for example { url: "${url}", kvMetadata: { ${field}: "..." } }`,
          received: value === undefined ? undefined : JSON.stringify(value),
        });
      }
    }
  }
  if (issues.length > 0) throw new ConfigurationError("PDProxyServer", issues);
}
