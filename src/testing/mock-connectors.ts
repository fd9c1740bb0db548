import { readAddressedId, readKvAddress, type KvAddress } from "./addressed-request-id.ts";
import type { KvParams } from "./kv-params.ts";
import { queryBootstrap } from "./mooncake-bootstrap.ts";

/** Connectors through which all engines share one store of KV; see {@link MockKvStore}. */
export type MockStoreConnector =
  | "LMCacheConnectorV1"
  | "LMCacheMPConnector"
  | "OffloadingConnector"
  | "ExampleConnector"
  | "MooncakeStoreConnector"
  | "FlexKVConnectorV1";

/** KV connectors the mock engine has. `null`: none. */
export type MockKvConnector =
  | "NixlConnector"
  | "MooncakeConnector"
  | "MoRIIOConnector"
  | "P2pNcclConnector"
  | MockStoreConnector
  | null;

/** Where a decode finds its KV; an engine id when it can be told from there. */
export interface KvPlace extends KvAddress {
  readonly engineId?: string | undefined;
}

/** How engines with one connector find each other's KV. */
export interface ConnectorRules {
  /**
   * What a request asks for.
   *
   * @param own the engine's address in request ids
   * @returns "unreadable" when the connector can't make sense of it, upon which the engine dies
   */
  read(
    kv: KvParams | undefined,
    requestId: string | undefined,
    own: string,
  ): KvParams | undefined | "unreadable";
  /** The name that prefill pins KV under, and decode asks for it by. */
  key(kv: KvParams): string | undefined;
  /** Everything that decode needs is named. */
  isComplete(kv: KvParams): boolean;
  /** Decode must name blocks. */
  readonly namesBlocks: boolean;
  /** Decode may come before prefill, and waits. */
  readonly waits: boolean;
  /** Calls `onPlace` once; undefined: nobody knows. */
  locate(kv: KvParams, onPlace: (place: KvPlace | undefined) => void): void;
  /** What prefill's answer carries. */
  readonly handle: "nixl" | "moriio" | "none";
}

const asItIs = (kv: KvParams | undefined): KvParams | undefined => kv;
const atHandle = (kv: KvParams, onPlace: (place: KvPlace | undefined) => void): void => {
  onPlace(kv.host === undefined || kv.port === undefined ? undefined : { host: kv.host, port: kv.port });
};

const nixl: ConnectorRules = {
  read: asItIs,
  key: (kv) => kv.requestId,
  isComplete: (kv) =>
    kv.engineId !== undefined && kv.host !== undefined && kv.port !== undefined && kv.requestId !== undefined,
  namesBlocks: true,
  waits: false,
  locate: atHandle,
  handle: "nixl",
};

const mooncake: ConnectorRules = {
  read: asItIs,
  key: (kv) => kv.transferId,
  isComplete: (kv) =>
    kv.transferId !== undefined && kv.engineId !== undefined && kv.bootstrapAddress !== undefined,
  namesBlocks: false,
  waits: true,
  locate: (kv, onPlace) => queryBootstrap(kv.bootstrapAddress ?? "", kv.engineId, onPlace),
  handle: "none",
};

/** Requests without parameters are the engine's own; all others need both addresses in their id. */
function readMoriio(
  kv: KvParams | undefined,
  requestId: string | undefined,
  own: string,
): KvParams | undefined | "unreadable" {
  if (kv === undefined) return undefined;
  const addresses = readAddressedId(requestId);
  const mine = kv.doRemoteDecode ? addresses?.prefill : addresses?.decode;
  const prefill = readKvAddress(addresses?.prefill ?? "");
  const decode = readKvAddress(addresses?.decode ?? "");
  if (mine !== own || prefill === undefined || decode === undefined || kv.transferId === undefined)
    return "unreadable";
  return { ...kv, host: prefill.host, port: prefill.port };
}

const moriioWrite: ConnectorRules = {
  read: readMoriio,
  key: (kv) => kv.transferId,
  isComplete: (kv) => kv.transferId !== undefined,
  namesBlocks: false,
  waits: true,
  locate: atHandle,
  handle: "none",
};

const moriioRead: ConnectorRules = {
  ...moriioWrite,
  isComplete: (kv) => kv.transferId !== undefined && kv.engineId !== undefined,
  namesBlocks: true,
  waits: false,
  handle: "moriio",
};

const p2pNccl: ConnectorRules = {
  // The id says everything; an id that says nothing is more than a worker of vLLM survives.
  read(_kv, requestId, own) {
    const addresses = readAddressedId(requestId);
    const prefill = readKvAddress(addresses?.prefill ?? "");
    if (addresses === undefined || prefill === undefined || readKvAddress(addresses.decode) === undefined)
      return "unreadable";
    if (addresses.prefill !== own && addresses.decode !== own) return "unreadable";
    return {
      doRemoteDecode: addresses.prefill === own,
      doRemotePrefill: addresses.prefill !== own,
      blockIds: [],
      hasBlockIds: false,
      engineId: undefined,
      requestId,
      host: prefill.host,
      port: prefill.port,
      tensorParallelSize: 1,
      promptTokens: undefined,
      leaseToken: undefined,
      transferId: undefined,
      bootstrapAddress: undefined,
      promptTokenIds: undefined,
    };
  },
  key: (kv) => kv.requestId,
  isComplete: () => true,
  namesBlocks: false,
  waits: true,
  locate: atHandle,
  handle: "none",
};

/** Engines with a store, and those without a connector: nothing is fetched from one another. */
const none: ConnectorRules = {
  read: asItIs,
  key: () => undefined,
  isComplete: () => true,
  namesBlocks: false,
  waits: false,
  locate: (_kv, onPlace) => onPlace(undefined),
  handle: "none",
};

const rulesOf: Readonly<Record<string, ConnectorRules>> = {
  NixlConnector: nixl,
  MooncakeConnector: mooncake,
  MoRIIOConnector: moriioWrite,
  P2pNcclConnector: p2pNccl,
};

/** The rules of a connector. @param moriioReadMode decode reads (MoRIIO `read_mode`) instead of prefill writing */
export function connectorRules(connector: MockKvConnector, moriioReadMode: boolean): ConnectorRules {
  if (connector === "MoRIIOConnector" && moriioReadMode) return moriioRead;
  return rulesOf[connector ?? ""] ?? none;
}
