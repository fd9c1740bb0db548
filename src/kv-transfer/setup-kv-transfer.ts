import { isJsonObject } from "./handle-check.ts";
import type { KvTransferConfig } from "./kv-connector.ts";
import { createKvConnector } from "./kv-connector-registry.ts";
import type {
  ConnectorSetup,
  ConnectorSetupFunction,
  KvSetupInput,
  KvSetupResult,
} from "./kv-setup-context.ts";
import { subConnectorConfigs } from "./multi-connector.ts";
import { setupLmcache } from "./setup-lmcache.ts";
import { setupMoriio } from "./setup-moriio.ts";
import { setupNixl } from "./setup-nixl.ts";

const setups: ReadonlyMap<string, ConnectorSetupFunction> = new Map([
  ["NixlConnector", setupNixl],
  ["NixlPullConnector", setupNixl],
  ["LMCacheConnectorV1", setupLmcache],
  ["MoRIIOConnector", setupMoriio],
  ["MultiConnector", setupMulti],
]);

/**
 * What one engine of a deployment must be started with so that its KV connector works: environment,
 * `kv_transfer_config`, and what it tells its peers. Connectors without a set-up are left as they are; no
 * connector at all (null, `{}`, whatever Python calls false) is no error. Nothing is read from this process or changed.
 *
 * Mirrors Ray's `LLMConfig.setup_engine_backend()`, which changes the process it runs in. Two of Ray's defects are
 * gone: within a MultiConnector the changes reach the engine, and the first connector's metadata is published.
 *
 * @throws ConfigurationError when the configuration can't be set up
 */
export function setupKvTransfer(input: KvSetupInput): KvSetupResult {
  const config = input.kvTransferConfig;
  if (isNothing(config)) return { env: {}, kvTransferConfig: config, replicaMetadata: {}, warnings: [] };
  const warnings: string[] = [];
  createKvConnector(config, { warn: (message) => warnings.push(message) });
  const setup = setupOne(config as KvTransferConfig, input);
  warnings.push(...(setup.warnings ?? []), ...sharedPortWarnings(setup, input));
  return {
    env: setup.env ?? {},
    kvTransferConfig: setup.kvTransferConfig,
    replicaMetadata: setup.replicaMetadata ?? {},
    warnings: [...new Set(warnings)],
  };
}

function setupOne(config: KvTransferConfig, input: KvSetupInput): ConnectorSetup {
  return setups.get(config["kv_connector"] as string)?.(config, input) ?? { kvTransferConfig: config };
}

function setupMulti(config: KvTransferConfig, input: KvSetupInput): ConnectorSetup {
  const extra = config["kv_connector_extra_config"] as Readonly<Record<string, unknown>>;
  const given = extra["connectors"] as readonly KvTransferConfig[];
  const env: Record<string, string> = {};
  const warnings: string[] = [];
  const results = subConnectorConfigs(config).map((sub) => {
    createKvConnector(sub, { warn: (message) => warnings.push(message) });
    const result = setupOne(sub, { ...input, env: { ...input.env, ...env } });
    Object.assign(env, result.env);
    warnings.push(...(result.warnings ?? []));
    return { sub, result };
  });
  const connectors = results.map(({ sub, result }, index) => ({
    ...given[index],
    ...changedKeys(sub, result.kvTransferConfig),
  }));
  return {
    env,
    kvTransferConfig: { ...config, kv_connector_extra_config: { ...extra, connectors } },
    replicaMetadata: results[0]?.result.replicaMetadata,
    warnings,
  };
}

/** Only what set-up changed goes into the sub-connector: what it inherited stays in its parent. */
function changedKeys(before: KvTransferConfig, after: KvTransferConfig): KvTransferConfig {
  return Object.fromEntries(Object.entries(after).filter(([key, value]) => before[key] !== value));
}

function sharedPortWarnings(setup: ConnectorSetup, input: KvSetupInput): readonly string[] {
  const preset = input.env?.["VLLM_NIXL_SIDE_CHANNEL_PORT"];
  const isUsed =
    preset !== undefined && preset !== "" && setup.env?.["VLLM_NIXL_SIDE_CHANNEL_PORT"] !== undefined;
  return isUsed
    ? [
        `VLLM_NIXL_SIDE_CHANNEL_PORT=${preset} is set already and used as it is by every replica: ` +
          "two of them on one host would collide.",
      ]
    : [];
}

/** What Python calls false. */
function isNothing(config: unknown): boolean {
  if (Array.isArray(config)) return config.length === 0;
  return isJsonObject(config) ? Object.keys(config).length === 0 : !config;
}
