import { deepStrictEqual, ok, throws } from "node:assert/strict";

import { ConfigurationError } from "../../../src/errors/configuration-error.ts";
import {
  createKvConnector,
  isKvConnectorRegistered,
  registerKvConnector,
  unregisterKvConnector,
  type KvConnectorFactory,
} from "../../../src/kv-transfer/kv-connector-registry.ts";
import type { KvSetupInput, KvSetupResult } from "../../../src/kv-transfer/kv-setup-context.ts";
import { DefaultConnector } from "../../../src/kv-transfer/default-connector.ts";
import { formatMoriioAddress, parseMoriioAddress } from "../../../src/kv-transfer/moriio-address.ts";
import { parsePeerAddress } from "../../../src/kv-transfer/peer-address.ts";
import { setupKvTransfer } from "../../../src/kv-transfer/setup-kv-transfer.ts";
import type { GoldenCase, SkipReason } from "../golden-case.ts";

/**
 * Checks one case of `kv-setup.jsonl`; throws when the library does something else than was recorded.
 *
 * Ours by rule:
 * - set-up again changes nothing more; an empty or null `engine_id` counts as none; a null `lmcache_rpc_port`, too;
 * - in a MultiConnector, what the sub-connectors set reaches the engine, and the first one's metadata is published;
 * - values of a wrong type are a ConfigurationError, also where Ray lets a number name a connector;
 * - a known connector in another case is a ConfigurationError;
 * - Mooncake and P2pNccl have connectors of their own here, so that no warning says they have none;
 * - null and empty count as not given (`engine_id`, extra configuration, environment), where Ray fails or goes on
 *   with an empty text;
 * - a failing set-up returns no environment, where Ray has already changed some of its own.
 */
export function check(kase: GoldenCase): void | SkipReason {
  const input = kase.input as Input;
  const expected = kase.expect as Expectation;
  if (input.registry !== undefined) checkRegistry(input.registry, expected);
  else if (input.build_zmq_address !== undefined) checkAddress(input.build_zmq_address, expected);
  else if (input.parse_peer_zmq !== undefined) checkPeer(input.parse_peer_zmq, expected);
  // What the engine's machine has installed can't be seen from here.
  else if (input.lmcache_installed === false || input.vllm_knows_nixl_env === false) return "python-only";
  else checkSetup(input, expected, kase.ray_defect !== undefined);
  return undefined;
}

interface Input {
  readonly registry?: readonly (readonly [operation: string, name: string, path?: string])[];
  readonly build_zmq_address?: readonly [string, number, number];
  readonly parse_peer_zmq?: readonly [string, boolean];
  readonly kv_transfer_config?: unknown;
  readonly engine_kwargs?: Readonly<Record<string, unknown>>;
  readonly experimental_configs?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly replica_rank?: number | null;
  readonly node_ip?: string;
  readonly times?: number;
  readonly lmcache_installed?: boolean;
  readonly vllm_knows_nixl_env?: boolean;
}

interface SubBackend {
  readonly backend: string;
  readonly kv_transfer_config: Readonly<Record<string, unknown>>;
  readonly replica_metadata: unknown;
}

interface Expectation {
  readonly ok: boolean;
  readonly message_contains?: readonly string[];
  readonly results?: readonly unknown[];
  readonly address?: string;
  readonly parsed?: readonly unknown[];
  readonly peer?: string;
  readonly kv_transfer_config?: unknown;
  readonly replica_metadata?: unknown;
  readonly sub_backends?: readonly SubBackend[];
  readonly env?: Readonly<Record<string, string>>;
  readonly log_warnings?: readonly string[];
}

/** `input` as {@link setupKvTransfer} takes it. Random choices are the same every time. */
export function setupInput(input: Input): KvSetupInput {
  let seed = 1;
  return {
    kvTransferConfig: input.kv_transfer_config,
    engineKwargs: input.engine_kwargs,
    experimentalConfigs: input.experimental_configs,
    env: input.env,
    replicaRank: input.replica_rank === undefined ? 0 : input.replica_rank,
    nodeIp: input.node_ip ?? "10.0.0.9",
    random: () => {
      seed = (seed * 16_807) % 2_147_483_647;
      return seed / 2_147_483_647;
    },
  };
}

function checkSetup(input: Input, expected: Expectation, isDefect: boolean): void {
  const setup = (): KvSetupResult => {
    const first = setupInput(input);
    let result = setupKvTransfer(first);
    for (let time = 1; time < (input.times ?? 1); time += 1) {
      result = setupKvTransfer({
        ...first,
        kvTransferConfig: result.kvTransferConfig,
        env: { ...first.env, ...result.env },
      });
    }
    return result;
  };
  const name = (input.kv_transfer_config as { kv_connector?: unknown } | undefined)?.kv_connector;
  const isMiscased =
    typeof name === "string" && !isKvConnectorRegistered(name) && knownNames.includes(name.toLowerCase());
  const isWrongType = name !== undefined && name !== null && typeof name !== "string";
  const fixesAbsent = isDefect && hasAbsent(input);
  if ((!expected.ok && !fixesAbsent) || isMiscased || isWrongType) {
    throws(setup, (error) => isConfigurationError(error, expected.message_contains ?? []));
    return;
  }
  const result = setup();
  if (!expected.ok) {
    deepStrictEqual(result, setupKvTransfer(setupInput({ ...input, ...withoutAbsent(input) })));
    return;
  }
  matches(
    isDefect ? withoutDefects(expected, input) : expected.kv_transfer_config,
    result.kvTransferConfig ?? null,
  );
  matches(expected.env ?? {}, { ...input.env, ...result.env });
  const metadata = expected.sub_backends?.[0]?.replica_metadata ?? expected.replica_metadata ?? {};
  matches(metadata, result.replicaMetadata);
  for (const warning of expected.log_warnings ?? []) {
    const isOurs = warning.includes("MooncakeConnector") || warning.includes("P2pNcclConnector");
    ok(isOurs || result.warnings.some((text) => text.includes(warning)), `no warning ${warning}`);
  }
}

const knownNames = ["nixlconnector", "lmcacheconnectorv1", "multiconnector", "moriioconnector"];

/** True when something is given as null or empty that then counts as not given. */
function hasAbsent(input: Input): boolean {
  const clean = withoutAbsent(input);
  const count = (object: unknown): number => Object.keys(object ?? {}).length;
  return (
    count(clean.kv_transfer_config) < count(input.kv_transfer_config) || count(clean.env) < count(input.env)
  );
}

function withoutAbsent(input: Input): Required<Pick<Input, "kv_transfer_config" | "env">> {
  const isGiven = ([, value]: readonly [string, unknown]): boolean => value !== null && value !== "";
  const config = (input.kv_transfer_config ?? {}) as Readonly<Record<string, unknown>>;
  // Without its extra configuration a MultiConnector is wrong, not empty.
  const isMulti = config["kv_connector"] === "MultiConnector";
  return {
    kv_transfer_config: isMulti ? config : Object.fromEntries(Object.entries(config).filter(isGiven)),
    env: Object.fromEntries(Object.entries(input.env ?? {}).filter(isGiven)),
  };
}

/** What Ray should have come to. */
function withoutDefects(expected: Expectation, input: Input): unknown {
  const config = expected.kv_transfer_config as Record<string, unknown>;
  if (expected.sub_backends !== undefined) {
    const given = input.kv_transfer_config as {
      kv_connector_extra_config: { connectors: Record<string, unknown>[] };
    };
    const connectors = expected.sub_backends.map((sub, index) => ({
      ...given.kv_connector_extra_config.connectors[index],
      ...changed(sub.kv_transfer_config, config),
    }));
    return { ...config, kv_connector_extra_config: { ...given.kv_connector_extra_config, connectors } };
  }
  const fixed: Record<string, unknown> = { ...config };
  const id = config["engine_id"];
  if (typeof id === "string" && id.startsWith("-"))
    fixed["engine_id"] = pattern(`^[A-Za-z0-9]{6}${escaped(id)}$`);
  if ((input.times ?? 1) > 1) fixed["engine_id"] = onceOnly(id);
  const extra = config["kv_connector_extra_config"] as Record<string, unknown> | undefined;
  if (isPattern(extra?.["lmcache_rpc_port"]) && extra["lmcache_rpc_port"].$pattern.startsWith("^None")) {
    fixed["kv_connector_extra_config"] = {
      ...extra,
      lmcache_rpc_port: pattern("^lmcache_rpc_port[A-Za-z0-9]{6}$"),
    };
  }
  return fixed;
}

/** Ray appends `-host-port` at every set-up; once is right. */
function onceOnly(id: unknown): unknown {
  if (isPattern(id)) return pattern(id.$pattern.replace(/(-[^-]+-\d+)(?:\1)+\$$/, "$1$"));
  return typeof id === "string" ? id.replace(/(-[^-]+-\d+)(?:\1)+$/, "$1") : id;
}

function checkRegistry(operations: NonNullable<Input["registry"]>, expected: Expectation): void {
  const original = new Map<string, KvConnectorFactory | undefined>();
  for (const [, name] of operations) {
    const factory = unregisterKvConnector(name);
    original.set(name, factory);
    if (factory !== undefined) registerKvConnector(name, factory);
  }
  const warnings: string[] = [];
  try {
    const results: unknown[] = [];
    for (const operation of operations) results.push(...runOperation(operation, warnings));
    deepStrictEqual(results.length, expected.results?.length);
    for (const [index, result] of results.entries())
      sameResult(result, expected.results?.[index], operations);
  } finally {
    for (const [name, factory] of original) {
      unregisterKvConnector(name);
      if (factory !== undefined) registerKvConnector(name, factory);
    }
  }
}

function runOperation(
  [operation, name, path]: readonly [string, string, string?],
  warnings: string[],
): readonly unknown[] {
  try {
    switch (operation) {
      case "is_registered":
        return [isKvConnectorRegistered(name)];
      case "register":
        registerKvConnector(name, () => {
          // Ray imports the path when the connector is first needed; here, code is registered, and may fail.
          const known = /^ray\.llm\..*:(\w+)Backend$/.exec(path ?? "")?.[1];
          if (known === "DefaultConnector") return new DefaultConnector(name);
          if (known !== undefined && isKvConnectorRegistered(known))
            return createKvConnector({ kv_connector: known });
          throw new Error(`cannot import ${path}`);
        });
        return ["ok"];
      case "unregister":
        unregisterKvConnector(name);
        return ["ok"];
      case "get": {
        const config = {
          kv_connector: name,
          kv_connector_extra_config: { connectors: [{ kv_connector: "NixlConnector" }] },
        };
        const before = warnings.length;
        const connector = createKvConnector(config, { warn: (text) => warnings.push(text) });
        return [...warnings.slice(before).map((text) => ({ log_warning: text })), backendName(connector)];
      }
      default:
        throw new Error(`unknown operation ${operation}`);
    }
  } catch (error) {
    return [{ error }];
  }
}

function sameResult(result: unknown, expected: unknown, operations: NonNullable<Input["registry"]>): void {
  const recorded = expected as { error?: { message_contains: readonly string[] } } | undefined;
  if (recorded?.error !== undefined) {
    const { message_contains } = recorded.error;
    const { error } = result as { error?: unknown };
    ok(isConfigurationError(error, message_contains), `expected ${JSON.stringify(recorded)}`);
    return;
  }
  // Mooncake is registered here and is not in Ray.
  if (expected === false && operations.some(([, name]) => name === "MooncakeConnector"))
    ok(result === true || result === false);
  else deepStrictEqual(result, expected);
}

/** Ray's class for one of ours. */
export function backendName(connector: { readonly name: string; readonly constructor: unknown }): string {
  return (connector.constructor as { name: string }).name === "DefaultConnector"
    ? "DefaultConnectorBackend"
    : `${connector.name}Backend`;
}

function checkAddress(
  [host, handshakePort, notifyPort]: readonly [string, number, number],
  expected: Expectation,
): void {
  const address = formatMoriioAddress({ host, handshakePort, notifyPort });
  deepStrictEqual(address, expected.address);
  const parsed = parseMoriioAddress(address);
  deepStrictEqual([parsed.host, parsed.handshakePort, parsed.notifyPort], expected.parsed);
}

function checkPeer([requestId, isProducer]: readonly [string, boolean], expected: Expectation): void {
  if (expected.ok) deepStrictEqual(parsePeerAddress(requestId, isProducer), expected.peer);
  else {
    throws(
      () => parsePeerAddress(requestId, isProducer),
      (error) => isConfigurationError(error, expected.message_contains ?? []),
    );
  }
}

/** True for a ConfigurationError that says all of this. */
export function isConfigurationError(error: unknown, contains: readonly string[]): boolean {
  return error instanceof ConfigurationError && contains.every((text) => error.message.includes(text));
}

interface Pattern {
  readonly $pattern: string;
}

function isPattern(value: unknown): value is Pattern {
  return typeof value === "object" && value !== null && "$pattern" in value;
}

function pattern($pattern: string): Pattern {
  return { $pattern };
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
}

/** What a sub-connector's set-up may change, as far as it is not what it inherited. */
function changed(sub: Readonly<Record<string, unknown>>, parent: Readonly<Record<string, unknown>>): object {
  const keys = Object.keys(sub).filter(
    (key) => key === "kv_connector_extra_config" || (key === "engine_id" && sub[key] !== parent[key]),
  );
  return Object.fromEntries(keys.map((key) => [key, sub[key]]));
}

/** Deep equality, where the expected value may hold patterns. */
function matches(expected: unknown, actual: unknown): void {
  if (isPattern(expected)) {
    ok(
      typeof actual === "string" && new RegExp(expected.$pattern, "u").test(actual),
      `${String(actual)} is not ${expected.$pattern}`,
    );
    return;
  }
  if (typeof expected !== "object" || expected === null) {
    deepStrictEqual(actual, expected);
    return;
  }
  ok(
    typeof actual === "object" && actual !== null,
    `expected ${JSON.stringify(expected)}, got ${String(actual)}`,
  );
  deepStrictEqual(Object.keys(actual).sort(), Object.keys(expected).sort());
  for (const [key, value] of Object.entries(expected))
    matches(value, (actual as Record<string, unknown>)[key]);
}
