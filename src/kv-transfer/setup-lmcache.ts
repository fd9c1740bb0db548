import { ConfigurationError } from "../errors/configuration-error.ts";
import { isJsonObject, showJson } from "./handle-check.ts";
import type { KvTransferConfig } from "./kv-connector.ts";
import { uniqueSuffix, type ConnectorSetup, type KvSetupInput } from "./kv-setup-context.ts";

/**
 * Gives an LMCache engine an RPC port name of its own, when it has an extra configuration at all. Mirrors
 * `LMCacheConnectorV1Backend.setup`; whether the engine's machine has LMCache is not checked from here.
 *
 * @throws ConfigurationError when `kv_connector_extra_config` is no object
 */
export function setupLmcache(config: KvTransferConfig, input: KvSetupInput): ConnectorSetup {
  if (!Object.hasOwn(config, "kv_connector_extra_config")) return { kvTransferConfig: config };
  const extra = config["kv_connector_extra_config"] ?? {};
  if (!isJsonObject(extra)) {
    throw new ConfigurationError("KV transfer set-up", [
      {
        path: ["kv_transfer_config", "kv_connector_extra_config"],
        message: "kv_connector_extra_config is not an object",
        type: "dict_type",
        expected: "an object",
        received: showJson(extra),
      },
    ]);
  }
  const base = extra["lmcache_rpc_port"] ?? "lmcache_rpc_port";
  const text = typeof base === "string" ? base : showJson(base);
  const port = (text === "" ? "lmcache_rpc_port" : text) + uniqueSuffix(input);
  return { kvTransferConfig: { ...config, kv_connector_extra_config: { ...extra, lmcache_rpc_port: port } } };
}
