import { ConfigurationError } from "../errors/configuration-error.ts";
import { isJsonObject, showJson } from "./handle-check.ts";
import type { KvTransferConfig } from "./kv-connector.ts";
import {
  portBase,
  portOffset,
  portWarnings,
  wholeKwarg,
  type ConnectorSetup,
  type KvSetupInput,
} from "./kv-setup-context.ts";
import { formatMoriioAddress } from "./moriio-address.ts";

const httpPortBase = 8000;
const defaultHandshakePortBase = 6301;
const defaultNotifyPortBase = 61_005;

/**
 * Gives a MoRIIO engine its ports, and says where it can be reached. `handshake_port`, `notify_port` and `host_ip`
 * are always set; `proxy_ip`, `proxy_ping_port`, `http_port` and `read_mode` only where the user did not. Mirrors
 * `MoRIIOConnectorBackend.setup` and its `replica_metadata`.
 *
 * @throws ConfigurationError for port bases or sizes that are no numbers, or no rank
 */
export function setupMoriio(config: KvTransferConfig, input: KvSetupInput): ConnectorSetup {
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
  const kwargs = input.engineKwargs ?? {};
  const offset = portOffset(input);
  const handshakePort = portBase(input, "MORI_HANDSHAKE_PORT_BASE", defaultHandshakePortBase) + offset;
  const notifyPort = portBase(input, "MORI_NOTIFY_PORT_BASE", defaultNotifyPortBase) + offset;
  return {
    kvTransferConfig: {
      ...config,
      kv_connector_extra_config: {
        proxy_ip: "",
        proxy_ping_port: "0",
        http_port: String(httpPortBase + offset),
        read_mode: "false",
        ...extra,
        handshake_port: String(handshakePort),
        notify_port: String(notifyPort),
        host_ip: input.nodeIp,
      },
    },
    replicaMetadata: {
      mori_zmq_address: formatMoriioAddress({ host: input.nodeIp, handshakePort, notifyPort }),
      dp_rank: wholeKwarg(kwargs, "data_parallel_rank", 0),
      dp_size: wholeKwarg(kwargs, "data_parallel_size", 1),
      tp_size: wholeKwarg(kwargs, "tensor_parallel_size", 1),
    },
    warnings: [...portWarnings("handshake_port", handshakePort), ...portWarnings("notify_port", notifyPort)],
  };
}
