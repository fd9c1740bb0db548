import { MockKvStore, type MockVLLMEngine, type MockKvConnector } from "../../src/testing/index.ts";
import type { PDClusterOptions } from "./pd-cluster.ts";

/** One connector as a user configures it, and engines that have it. */
export interface ConnectorSetup {
  readonly name: string;
  /** Both legs at once. */
  readonly concurrent: boolean;
  /** Prefill is chosen, and its address known, before either request is made. */
  readonly bound: boolean;
  /** KV goes from engine to engine, so that the ledgers tell of it. */
  readonly movesKv: boolean;
  readonly cluster: () => PDClusterOptions;
  /** A LoRA adapter that requests name. */
  readonly adapter?: string | undefined;
}

const lora = { loraConfig: { dynamicLoraLoadingPath: "s3://bucket/loras", maxDownloadTries: 1 } };
const ranks = { prefillRanks: { size: 2, perNode: 2 }, decodeRanks: { size: 4, perNode: 2 } };

const direct = (
  name: string,
  connector: MockKvConnector,
  concurrent: boolean,
  more: PDClusterOptions = {},
  extra: Readonly<Record<string, unknown>> = {},
): ConnectorSetup => ({
  name,
  concurrent,
  bound: more.endpoint !== undefined,
  movesKv: true,
  cluster: () => ({
    ...more,
    kvTransferConfig: { kv_connector: connector, kv_role: "kv_both", ...extra },
    engine: { kvConnector: connector, kvLeaseMs: 2_000, ...more.engine },
  }),
});

const store = (name: string, connector: MockKvConnector, configured: string = name): ConnectorSetup => ({
  name,
  concurrent: false,
  bound: false,
  movesKv: false,
  cluster: () => ({
    kvTransferConfig: { kv_connector: configured, kv_role: "kv_both" },
    engine: { kvConnector: connector, kvStore: new MockKvStore(), promptTokensDetails: true },
  }),
});

const address = (field: string) => (engine: MockVLLMEngine) => ({
  kvMetadata: { [field]: engine.kvAddress },
});

const moriio = { endpoint: address("mori_zmq_address") };

/** Every connector that the library knows. */
export const connectorSetups: readonly ConnectorSetup[] = [
  direct("Nixl", "NixlConnector", false),
  direct("Mooncake", "MooncakeConnector", true, {
    endpoint: (engine) => ({ kvMetadata: { bootstrap_addr: engine.bootstrapUrl } }),
  }),
  direct("MoRIIO WRITE", "MoRIIOConnector", true, moriio),
  direct(
    "MoRIIO READ",
    "MoRIIOConnector",
    false,
    { ...moriio, engine: { moriioReadMode: true } },
    { kv_connector_extra_config: { read_mode: "true" } },
  ),
  direct("P2pNccl", "P2pNcclConnector", false, { endpoint: address("zmq_address") }),
  direct(
    "Multi (Nixl first)",
    "NixlConnector",
    false,
    {},
    {
      kv_connector: "MultiConnector",
      kv_connector_extra_config: {
        connectors: [
          { kv_connector: "NixlConnector", kv_role: "kv_both" },
          { kv_connector: "OffloadingConnector", kv_role: "kv_both" },
        ],
      },
    },
  ),
  direct("Multi (MoRIIO first)", "MoRIIOConnector", true, moriio, {
    kv_connector: "MultiConnector",
    kv_connector_extra_config: { connectors: [{ kv_connector: "MoRIIOConnector", kv_role: "kv_both" }] },
  }),
  store("LMCacheConnectorV1", "LMCacheConnectorV1"),
  store("OffloadingConnector", "OffloadingConnector"),
  store("ExampleConnector", "ExampleConnector"),
  store("FlexKVConnectorV1", "FlexKVConnectorV1"),
  store("a connector of one's own", "LMCacheConnectorV1", "AcmeConnector"),
];

/** What Nixl has to get on with. */
export const nixlVariants: readonly ConnectorSetup[] = (
  [
    ["LoRA", {}, { config: lora }],
    ["data parallelism", ranks, {}],
    ["LoRA and data parallelism", ranks, { config: lora }],
  ] as const
).map(([name, parallel, more]) => ({
  ...direct(`Nixl with ${name}`, "NixlConnector", false, { ...parallel, ...more }),
  ...("config" in more ? { adapter: "sql" } : {}),
}));

/** Those with both legs at once. */
export const concurrentSetups = connectorSetups.filter(
  ({ concurrent, name }) => concurrent && !name.startsWith("Multi"),
);
