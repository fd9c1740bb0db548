import { ConfigurationError } from "../errors/configuration-error.ts";
import { showJson } from "./handle-check.ts";
import type { KvTransferConfig } from "./kv-connector.ts";
import {
  portBase,
  portOffset,
  portWarnings,
  uniqueSuffix,
  wholeNumber,
  type ConnectorSetup,
  type KvSetupInput,
} from "./kv-setup-context.ts";

const portVariable = "VLLM_NIXL_SIDE_CHANNEL_PORT";
const hostVariable = "VLLM_NIXL_SIDE_CHANNEL_HOST";
const defaultPortBase = 20_000;

/**
 * Gives a NIXL engine its side channel and an engine id of its own: `{engine_id or 6 random}-{host}-{port}`.
 * Mirrors `NixlConnectorBackend.setup`. Unlike Ray's, a second set-up changes nothing, and an empty `engine_id`
 * counts as none.
 *
 * @throws ConfigurationError for a port that is no number, an `engine_id` that is no text, or no rank
 */
export function setupNixl(config: KvTransferConfig, input: KvSetupInput): ConnectorSetup {
  const presetPort = input.env?.[portVariable];
  const presetHost = input.env?.[hostVariable];
  const host = presetHost === undefined || presetHost === "" ? input.nodeIp : presetHost;
  const port =
    presetPort === undefined || presetPort === ""
      ? portBase(input, "NIXL_SIDE_CHANNEL_PORT_BASE", defaultPortBase) + portOffset(input)
      : wholeNumber(presetPort, ["env", portVariable]);
  return {
    env: { [portVariable]: String(port), [hostVariable]: host },
    kvTransferConfig: { ...config, engine_id: engineId(config["engine_id"], `-${host}-${port}`, input) },
    warnings: portWarnings(portVariable, port),
  };
}

function engineId(given: unknown, suffix: string, input: KvSetupInput): string {
  if (given === undefined || given === null || given === "") return uniqueSuffix(input) + suffix;
  if (typeof given === "string") return given.endsWith(suffix) ? given : given + suffix;
  throw new ConfigurationError("KV transfer set-up", [
    {
      path: ["kv_transfer_config", "engine_id"],
      message: "engine_id is not text",
      type: "string_type",
      expected: "a string",
      received: showJson(given),
    },
  ]);
}
