import { ConfigurationError } from "../errors/configuration-error.ts";
import { ServeLLMError } from "../errors/serve-llm-error.ts";
import { DefaultConnector } from "./default-connector.ts";
import { isJsonObject, showJson } from "./handle-check.ts";
import type { KvConnector, KvConnectorContext, KvTransferConfig } from "./kv-connector.ts";
import { LmcacheConnector } from "./lmcache-connector.ts";
import { MooncakeConnector } from "./mooncake-connector.ts";
import { MoriioConnector } from "./moriio-connector.ts";
import { MultiConnector, subConnectorConfigs } from "./multi-connector.ts";
import { NixlConnector } from "./nixl-connector.ts";
import { P2pNcclConnector } from "./p2p-nccl-connector.ts";

/**
 * Makes a connector from its configuration.
 *
 * @throws ConfigurationError when the configuration can't be used
 */
export type KvConnectorFactory = (
  kvTransferConfig: KvTransferConfig,
  context: KvConnectorContext,
) => KvConnector;

/** The only module state of the pure folders: which connectors this process knows. */
const factories = new Map<string, KvConnectorFactory>([
  ["NixlConnector", () => new NixlConnector()],
  ["NixlPullConnector", () => new NixlConnector("NixlPullConnector")],
  ["LMCacheConnectorV1", () => new LmcacheConnector()],
  ["LMCacheMPConnector", () => new LmcacheConnector("LMCacheMPConnector")],
  ["MoRIIOConnector", (config, context) => new MoriioConnector(config, context)],
  ["MooncakeConnector", () => new MooncakeConnector()],
  ["P2pNcclConnector", (_config, context) => new P2pNcclConnector(context)],
  [
    "MultiConnector",
    (config, context) => new MultiConnector(createKvConnector(subConnectorConfigs(config)[0], context)),
  ],
]);

/**
 * Adds a connector under vLLM's name for it. Mirrors Ray's `KVConnectorBackendFactory.register_backend`.
 *
 * @throws ConfigurationError when the name is taken, with Ray's text
 */
export function registerKvConnector(name: string, factory: KvConnectorFactory): void {
  if (factories.has(name)) {
    throw new ConfigurationError("KV connector registration", [
      {
        path: [name],
        message:
          `kv_connector_backend '${name}' is already registered. ` +
          "Use unregister() first if you need to change the registration.",
        type: "value_error",
      },
    ]);
  }
  factories.set(name, factory);
}

/**
 * Forgets a connector, also a built-in one; an unknown name is no error. Mirrors Ray's `unregister_backend`.
 *
 * @returns what was registered, to be put back by whoever only wanted to replace it for a while
 */
export function unregisterKvConnector(name: string): KvConnectorFactory | undefined {
  const factory = factories.get(name);
  factories.delete(name);
  return factory;
}

/** True when a connector has its own rules here rather than the default ones. Mirrors Ray's `is_registered`. */
export function isKvConnectorRegistered(name: string): boolean {
  return factories.has(name);
}

/**
 * Makes the connector that `kv_transfer_config.kv_connector` names. An unknown name gets Ray's default protocol
 * and a warning. Mirrors Ray's `KVConnectorBackendFactory.create_backend`.
 *
 * @throws ConfigurationError when no connector is named, or the named one can't be made from this configuration
 */
export function createKvConnector(kvTransferConfig: unknown, context: KvConnectorContext = {}): KvConnector {
  const config = requireConfig(kvTransferConfig);
  const name = requireName(config);
  const factory = factories.get(name);
  if (factory === undefined) {
    refuseMisspelling(name);
    context.warn?.(`Unsupported connector backend: ${name}. Using default: DefaultConnectorBackend.`);
    return new DefaultConnector(name);
  }
  try {
    return factory(config, context);
  } catch (cause) {
    if (ServeLLMError.isInstance(cause)) throw cause;
    const reason = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    throw new ConfigurationError(
      "KV transfer configuration",
      [
        {
          path: ["kv_transfer_config", "kv_connector"],
          message: `Failed to load connector backend '${name}': ${reason}`,
          type: "value_error",
        },
      ],
      { cause },
    );
  }
}

/** A known name in another case is no new connector; Ray only warns, and then moves no KV. */
function refuseMisspelling(name: string): void {
  const known = [...factories.keys()].find((candidate) => candidate.toLowerCase() === name.toLowerCase());
  if (known === undefined) return;
  throw new ConfigurationError("KV transfer configuration", [
    {
      path: ["kv_transfer_config", "kv_connector"],
      message: `unknown connector "${name}"; did you mean "${known}"?`,
      type: "value_error",
      expected: known,
      received: showJson(name),
    },
  ]);
}

function requireConfig(kvTransferConfig: unknown): KvTransferConfig {
  if (isJsonObject(kvTransferConfig)) return kvTransferConfig;
  throw new ConfigurationError("KV transfer configuration", [
    {
      path: ["kv_transfer_config"],
      message: "the configuration of a KV connector is missing",
      type: kvTransferConfig === undefined || kvTransferConfig === null ? "missing" : "dict_type",
      expected: "an object with kv_connector",
      received: showJson(kvTransferConfig),
    },
  ]);
}

function requireName(config: KvTransferConfig): string {
  const name = config["kv_connector"];
  if (typeof name === "string" && name !== "") return name;
  throw new ConfigurationError("KV transfer configuration", [
    {
      path: ["kv_transfer_config", "kv_connector"],
      message: "Connector type is not specified.",
      type: name === undefined || name === null || name === "" ? "value_error" : "string_type",
      expected: "the name of a vLLM KV connector, for example NixlConnector",
      received: showJson(name),
    },
  ]);
}
