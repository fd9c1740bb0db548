import { endpointDiscovery } from "../llm/endpoint-discovery.ts";
import { BuilderArguments } from "../builders/builder-arguments.ts";
import { type ClientConfig, clientConfigSchema } from "../config/client-config.ts";
import type { DiscoveryContext, Endpoint } from "../config/endpoint.ts";
import type { LLMConfig } from "../config/llm-config.ts";
import type { LLMConfigInit } from "../config/llm-config-init.ts";
import { parseConfig } from "../config/parse-config.ts";
import { parsePDServingArgs, type PDServingArgsInit } from "../config/pd-serving-args.ts";
import { readConfigFile } from "../config/read-yaml.ts";
import { parseServeConfig } from "../config/serve-config.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import type { KvTransferConfig } from "../kv-transfer/kv-connector.ts";

/** One side of what is examined. */
export interface DoctorSide {
  readonly endpoints: readonly Endpoint[];
  readonly client: ClientConfig;
  /** `kv_transfer_config`, in vLLM's words. */
  readonly kvTransferConfig: KvTransferConfig;
}

/** Prefill and decode engines to be examined. */
export interface DoctorSubject {
  readonly prefill: DoctorSide;
  readonly decode: DoctorSide;
  /** Undefined: the one that the engines of both sides serve. */
  readonly modelId: string | undefined;
  /** What the configuration's author should know. */
  readonly notes: readonly string[];
  /** Arguments of `buildPdOpenaiApp` for one engine of each side. */
  pair(prefill: Endpoint, decode: Endpoint, modelId: string): PDServingArgsInit;
}

/** Engines named by URL. */
export interface EngineUrls {
  /** Base URLs, as `readBaseUrl` gives them. */
  readonly prefill: readonly string[];
  readonly decode: readonly string[];
  readonly modelId?: string | undefined;
  /** @default "NixlConnector" */
  readonly kvConnector?: string | undefined;
  readonly apiKey?: string | undefined;
}

/** The engines of these URLs. */
export function subjectOfUrls(urls: EngineUrls): DoctorSubject {
  const { prefill, decode, modelId, apiKey } = urls;
  const client = parseConfig(clientConfigSchema, { apiKey }, "client");
  const kvTransferConfig = { kv_connector: urls.kvConnector ?? "NixlConnector", kv_role: "kv_both" };
  const side = (list: readonly string[]): DoctorSide => ({
    endpoints: list.map((url) => ({ url })),
    client,
    kvTransferConfig,
  });
  const config = (endpoint: Endpoint, model: string): LLMConfigInit => ({
    modelLoadingConfig: { modelId: model },
    engineKwargs: { kv_transfer_config: kvTransferConfig },
    endpoints: [endpoint],
    client: { apiKey },
  });
  return {
    prefill: side(prefill),
    decode: side(decode),
    modelId,
    notes: [],
    pair: (one, other, model) => ({ prefillConfig: config(one, model), decodeConfig: config(other, model) }),
  };
}

/** What a config file lacks. */
export interface FileAdditions {
  readonly prefill?: readonly string[] | undefined;
  readonly decode?: readonly string[] | undefined;
  readonly apiKey?: string | undefined;
  readonly discovery: DiscoveryContext;
}

/**
 * The engines of the prefill/decode application of a Serve config file. A source of endpoints is asked once.
 *
 * @throws ConfigurationError when the file is not valid, has no such application or several, or nobody says where
 *   its engines are
 */
export async function subjectOfFile(path: string, additions: FileAdditions): Promise<DoctorSubject> {
  const { applications } = parseServeConfig(readConfigFile(path));
  const candidates = applications.filter(({ builder }) => builder === "buildPdOpenaiApp");
  const [application] = candidates;
  if (application === undefined || candidates.length > 1) {
    throw new ConfigurationError(`Serve config ${path}`, [
      {
        path: ["applications"],
        type: "value_error",
        message:
          candidates.length === 0
            ? "No application is built by build_pd_openai_app; there is nothing to examine"
            : "Several applications are built by build_pd_openai_app; examine one at a time",
        expected: "exactly one prefill/decode application",
        received: String(candidates.length),
      },
    ]);
  }
  const { prefill, decode, apiKey, discovery } = additions;
  const engines = new BuilderArguments({ prefill, decode, apiKey }, null);
  const args = engines.prepare(application.args) as unknown as PDServingArgsInit;
  const parsed = parsePDServingArgs(args);
  const { prefillConfig, decodeConfig, notes } = parsed;
  return {
    prefill: await sideOf(prefillConfig, "prefill", discovery),
    decode: await sideOf(decodeConfig, "decode", discovery),
    modelId: prefillConfig.modelId,
    notes: [...notes, ...prefillConfig.notes(), ...decodeConfig.notes()].filter(
      (note, index, all) => all.indexOf(note) === index,
    ),
    pair: (one, other) => ({
      prefillConfig: withEngine(prefillConfig, one),
      decodeConfig: withEngine(decodeConfig, other),
      proxyClsConfig: parsed.proxyClsConfig,
      proxyDeploymentConfig: parsed.proxyDeploymentConfig,
      ingressClsConfig: parsed.ingressClsConfig,
      ingressDeploymentConfig: parsed.ingressDeploymentConfig,
    }),
  };
}

async function sideOf(
  config: LLMConfig,
  name: "prefill" | "decode",
  discovery: DiscoveryContext,
): Promise<DoctorSide> {
  const endpoints = await endpointsOf(config, discovery);
  if (endpoints.length > 0) {
    return {
      endpoints,
      client: config.client,
      kvTransferConfig: config.engineKwargs["kv_transfer_config"] as KvTransferConfig,
    };
  }
  throw new ConfigurationError("The engines of the Serve config", [
    {
      path: [name],
      type: "missing",
      message:
        config.scalingTarget === undefined
          ? "The file does not say where these engines are"
          : "Engines of a scaling target are examined when they run, not started for that",
      expected: `--${name} URL,URL, or endpoints in the file's ${name} config`,
    },
  ]);
}

/** For a request through one engine; nothing is scaled for that. */
function withEngine(config: LLMConfig, engine: Endpoint): LLMConfig {
  return config.with({ endpoints: [engine], scalingTarget: undefined });
}

async function endpointsOf(config: LLMConfig, context: DiscoveryContext): Promise<readonly Endpoint[]> {
  const { endpoints } = config;
  if (endpoints === undefined) return [];
  const stop = new AbortController();
  try {
    for await (const list of endpointDiscovery(endpoints)(stop.signal, context)) return list;
    return [];
  } finally {
    stop.abort();
  }
}
