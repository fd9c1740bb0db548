import { ConfigurationError } from "../errors/configuration-error.ts";
import { showJson } from "./handle-check.ts";
import type { KvTransferConfig, PeerMetadata } from "./kv-connector.ts";

/** What the set-up of one engine depends on. */
export interface KvSetupInput {
  /** `engine_kwargs.kv_transfer_config`. Never changed; values are passed on as they are. */
  readonly kvTransferConfig: unknown;
  /** Read: `tensor_parallel_size`, `pipeline_parallel_size`, `data_parallel_rank`, `data_parallel_size`. */
  readonly engineKwargs?: Readonly<Record<string, unknown>> | undefined;
  /** Read: `NIXL_SIDE_CHANNEL_PORT_BASE`, `MORI_HANDSHAKE_PORT_BASE`, `MORI_NOTIFY_PORT_BASE`. */
  readonly experimentalConfigs?: Readonly<Record<string, unknown>> | undefined;
  /** Variables the engine's process has already. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Global rank of the replica in its deployment, from 0; null or undefined when there is none. */
  readonly replicaRank?: number | null | undefined;
  /** Address at which other engines reach this one. */
  readonly nodeIp: string;
  /** A number in [0, 1). */
  random(): number;
}

/** What the set-up of one engine comes to. */
export interface KvSetupResult {
  /** Variables to add to the engine's environment. */
  readonly env: Readonly<Record<string, string>>;
  /** `kv_transfer_config` as the engine should get it. */
  readonly kvTransferConfig: unknown;
  /** What the replica publishes to its peers. Ray's `replica_metadata()`. */
  readonly replicaMetadata: PeerMetadata;
  /** What looks wrong, for people to read. */
  readonly warnings: readonly string[];
}

/** {@link KvSetupResult} of one connector. */
export interface ConnectorSetup {
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly kvTransferConfig: KvTransferConfig;
  readonly replicaMetadata?: PeerMetadata | undefined;
  readonly warnings?: readonly string[] | undefined;
}

/** Sets up one connector. Its `env` holds what earlier connectors of the same engine set, too. */
export type ConnectorSetupFunction = (config: KvTransferConfig, input: KvSetupInput) => ConnectorSetup;

/**
 * How far an engine's ports lie from their bases: the data-parallel rank, for which vLLM spaces ports itself, or
 * the replica's rank times the devices it takes. Mirrors Ray's `_compute_port_offset`.
 *
 * @throws ConfigurationError when there is neither rank
 */
export function portOffset(input: KvSetupInput): number {
  const kwargs = input.engineKwargs ?? {};
  const rank = kwargs["data_parallel_rank"];
  // A boolean is an int in Python.
  if (typeof rank === "boolean") return Number(rank);
  if (typeof rank === "number" && Number.isInteger(rank) && rank >= 0) return rank;
  if (input.replicaRank === undefined || input.replicaRank === null) {
    throw new ConfigurationError("KV transfer set-up", [
      {
        path: ["replicaRank"],
        message:
          "ports follow the replica's rank, and there is none: " +
          "`serve.get_replica_context()` may only be called from within a Ray Serve deployment.",
        type: "missing",
      },
    ]);
  }
  return (
    input.replicaRank *
    wholeKwarg(kwargs, "tensor_parallel_size", 1) *
    wholeKwarg(kwargs, "pipeline_parallel_size", 1)
  );
}

/**
 * A whole number among the engine's arguments; `fallback` when absent or null.
 *
 * @throws ConfigurationError when it is there and no whole number
 */
export function wholeKwarg(
  kwargs: Readonly<Record<string, unknown>>,
  name: string,
  fallback: number,
): number {
  const value = kwargs[name];
  return value === undefined || value === null ? fallback : wholeNumber(value, ["engine_kwargs", name]);
}

/**
 * The base of a port range, from `experimental_configs`.
 *
 * @throws ConfigurationError when it is there (also null) and no number
 */
export function portBase(input: KvSetupInput, name: string, fallback: number): number {
  const value = input.experimentalConfigs?.[name];
  return value === undefined ? fallback : wholeNumber(value, ["experimental_configs", name]);
}

/**
 * Python's `int(value)` for configuration values: whole numbers as text are read, fractions are cut off.
 *
 * @throws ConfigurationError where Python raises
 */
export function wholeNumber(value: unknown, path: readonly string[]): number {
  if (typeof value === "number" && Number.isFinite(value)) return Math.trunc(value);
  if (typeof value === "boolean") return Number(value);
  if (typeof value === "string" && /^\s*[+-]?\d+(?:_\d+)*\s*$/.test(value))
    return Number(value.replaceAll("_", ""));
  throw new ConfigurationError("KV transfer set-up", [
    {
      path,
      message: "not a whole number",
      type: "int_parsing",
      expected: "an integer",
      received: showJson(value),
    },
  ]);
}

const suffixAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** Six random letters and digits that keep engines apart. Mirrors Ray's `_get_unique_suffix`. */
export function uniqueSuffix(input: KvSetupInput): string {
  let suffix = "";
  for (let count = 0; count < 6; count += 1) {
    suffix += suffixAlphabet.charAt(Math.floor(input.random() * suffixAlphabet.length));
  }
  return suffix;
}

/** A warning for a port that no socket can have. */
export function portWarnings(name: string, port: number): readonly string[] {
  return port >= 1 && port <= 65_535
    ? []
    : [`${name} ${port} is no port (1 to 65535): check the port base and the rank.`];
}
