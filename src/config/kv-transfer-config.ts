import { describeValue } from "./describe-value.ts";
import { isPlainObject, type SchemaProblem } from "./lax-schema.ts";
import { nearestName } from "./nearest-name.ts";

/** vLLM's `kv_transfer_config`, as far as routing needs it. Read from `engine_kwargs`. */
export interface KvTransferConfig {
  /** vLLM's connector, for example `NixlConnector`. */
  readonly kvConnector: string;
  /** `kv_both`, `kv_producer` or `kv_consumer`. */
  readonly kvRole: string | undefined;
  /** `kv_connector_extra_config`, keys as vLLM spells them. */
  readonly extraConfig: Readonly<Record<string, unknown>>;
}

/** Connectors vLLM and Ray come with. Others work too; their names are taken on trust. */
export const knownConnectors = [
  "NixlConnector",
  "LMCacheConnectorV1",
  "LMCacheMPConnector",
  "MultiConnector",
  "MoRIIOConnector",
  "MooncakeConnector",
  "MooncakeStoreConnector",
  "P2pNcclConnector",
  "OffloadingConnector",
  "SharedStorageConnector",
  "ExampleConnector",
  "DecodeBenchConnector",
  "FlexKVConnectorV1",
  "HF3FSConnector",
] as const;

/**
 * Reads `engine_kwargs.kv_transfer_config`. Ray accepts anything here and fails when the engine starts, or on the
 * first request.
 *
 * @returns undefined when there is none, the configuration, or what is wrong with it
 */
export function readKvTransferConfig(
  engineKwargs: Readonly<Record<string, unknown>>,
): KvTransferConfig | SchemaProblem | undefined {
  const given = engineKwargs["kv_transfer_config"];
  if (given === undefined || given === null) return undefined;
  const refuse = (message: string, type = "value_error"): SchemaProblem => ({
    type,
    message,
    expected: 'an object like { kv_connector: "NixlConnector", kv_role: "kv_both" }',
    received: describeValue(given, []),
  });
  if (!isPlainObject(given)) return refuse("kv_transfer_config should be an object", "dict_type");
  const { kv_connector: connector, kv_role: role, kv_connector_extra_config: extra } = given;
  if (typeof connector !== "string" || connector === "") {
    return refuse("kv_transfer_config names no kv_connector. Connector type is not specified.");
  }
  if (extra !== undefined && extra !== null && !isPlainObject(extra)) {
    return refuse("kv_connector_extra_config should be an object", "dict_type");
  }
  return {
    kvConnector: connector,
    kvRole: typeof role === "string" ? role : undefined,
    extraConfig: isPlainObject(extra) ? extra : {},
  };
}

/** A word about a connector nobody knows, or undefined. */
export function connectorNote(connector: string): string | undefined {
  if ((knownConnectors as readonly string[]).includes(connector)) return undefined;
  const nearest = nearestName(connector, knownConnectors);
  const hint = nearest === undefined ? "" : `; did you mean "${nearest}"?`;
  return `kv_connector "${connector}" is not one of vLLM's; it is treated like any connector that hands over parameters${hint}`;
}
