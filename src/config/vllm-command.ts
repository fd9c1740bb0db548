import { ConfigurationError } from "../errors/configuration-error.ts";
import { type Random, systemRandom } from "../internal/random.ts";
import { setupKvTransfer } from "../kv-transfer/setup-kv-transfer.ts";
import type { AcceleratorConfig } from "./accelerators.ts";
import { configurationProblem } from "./accelerators.ts";
import type { ClientConfig } from "./client-config.ts";
import { dataParallelLayout } from "./data-parallel-layout.ts";
import { decodePortBases } from "./decode-port-bases.ts";
import { type Endpoints, isEndpointList } from "./endpoint.ts";
import { type EngineConfig, managedArgumentMessage } from "./engine-config.ts";
import type { KvTransferConfig } from "./kv-transfer-config.ts";
import { integer, isPlainObject, objectOf, oneOf, optional, text } from "./lax-schema.ts";
import type { ModelLoadingConfig } from "./model-loading-config.ts";
import { parseConfig } from "./parse-config.ts";
import { VllmCommand } from "./vllm-command-line.ts";
import { vllmFlags } from "./vllm-flags.ts";

/** Which engine of a model to start, and where. */
export interface VllmCommandOptions {
  /** Side of prefill/decode: decode's side-channel ports start elsewhere. @default none */
  readonly role?: "prefill" | "decode" | undefined;
  /** Which replica, from 0; with data parallelism which rank, or which process when one holds several. @default 0 */
  readonly rank?: number | undefined;
  /** Port of the HTTP server, 1 to 65535. @default `engineKwargs.port`, else the endpoint's of this rank, else 8000 */
  readonly port?: number | undefined;
  /** Address the HTTP server listens on. @default `engineKwargs.host`, else vLLM's: all */
  readonly host?: string | undefined;
  /** Address at which other engines reach this one. @default the endpoint's host of this rank, else 127.0.0.1 */
  readonly nodeIp?: string | undefined;
  /** First GPU of this engine on its node. @default 0; with `dp_size_per_node` after the node's ranks before it */
  readonly gpuOffset?: number | undefined;
  /** Makes the engine id, where `kv_transfer_config.engine_id` gives none. @default the process's own randomness */
  readonly random?: Random | undefined;
}

/** What of an LLMConfig a command is made from. */
export interface VllmCommandSource {
  readonly modelId: string;
  readonly modelLoadingConfig: ModelLoadingConfig;
  readonly engineKwargs: Readonly<Record<string, unknown>>;
  readonly experimentalConfigs: Readonly<Record<string, unknown>>;
  readonly runtimeEnv: Readonly<Record<string, unknown>> | undefined;
  readonly acceleratorConfig: AcceleratorConfig;
  readonly kvTransferConfig: KvTransferConfig | undefined;
  readonly dataParallelSize: number;
  readonly loraConfig: { readonly dynamicLoraLoadingPath?: string | undefined } | undefined;
  readonly endpoints: Endpoints | undefined;
  readonly client: ClientConfig;
  getEngineConfig(): EngineConfig;
}

const optionsSchema = objectOf("toVllmCommand", {
  role: optional(oneOf(["prefill", "decode"])),
  rank: optional(integer({ atLeast: 0 })),
  port: optional(integer({ atLeast: 1, atMost: 65_535 })),
  host: optional(text({ minLength: 1 })),
  nodeIp: optional(text({ minLength: 1 })),
  gpuOffset: optional(integer({ atLeast: 0 })),
});

const defaultPort = 8000;
/** vLLM's default of `data_parallel_rpc_port`. */
const defaultRpcPort = 29_550;

/**
 * The command that starts one engine of a model, as Ray would start it: flags, KV transfer set-up, data-parallel
 * address and rank, GPUs.
 *
 * @throws {ConfigurationError} for options or engine arguments that no command could have
 */
export function vllmCommand(config: VllmCommandSource, options: VllmCommandOptions = {}): VllmCommand {
  const { random = systemRandom, ...given } = options;
  const { role, rank = 0, ...where } = parseConfig(optionsSchema, given, "toVllmCommand");
  refuseManaged(config.engineKwargs);
  if (role !== undefined && config.kvTransferConfig === undefined) {
    throw configurationProblem(
      "LLMConfig",
      ["engine_kwargs", "kv_transfer_config"],
      "kv_transfer_config is required for P/D disaggregation",
    );
  }
  const engine = processOf(config, rank);
  const endpoint = endpointOf(config, rank);
  const nodeIp = where.nodeIp ?? endpoint?.host;
  const notes: string[] = [];
  const { host, port, hf_token: token, api_key: keys, ...kwargs } = config.engineKwargs;
  const dataParallel = dataParallelKwargs(kwargs, engine, hostOf(config, 0) ?? nodeIp ?? "127.0.0.1");

  const env: Record<string, string> = {
    ...environmentOf(config),
    ...secretsOf(config, token, keys),
  };
  const kv = setupKvTransfer({
    kvTransferConfig: kwargs["kv_transfer_config"],
    engineKwargs: { ...kwargs, ...dataParallel },
    experimentalConfigs:
      role === "decode"
        ? { ...decodePortBases(config.kvTransferConfig?.kvConnector), ...config.experimentalConfigs }
        : config.experimentalConfigs,
    env,
    replicaRank: engine.ranks > 1 ? engine.start : rank,
    nodeIp: nodeIp ?? "127.0.0.1",
    random: () => random.next(),
  });
  notes.push(...kv.warnings);
  Object.assign(env, kv.env);
  if (nodeIp === undefined && Object.keys(kv.env).length > 0) {
    notes.push("no nodeIp is given and no endpoint says it: other hosts can't reach 127.0.0.1");
  }
  const devices = config.getEngineConfig().numDevices * engine.ranks;
  if (config.acceleratorConfig.kind === "gpu" && env["CUDA_VISIBLE_DEVICES"] === undefined) {
    const first = where.gpuOffset ?? engine.placeOnNode * config.getEngineConfig().numDevices;
    env["CUDA_VISIBLE_DEVICES"] = Array.from({ length: devices }, (_, index) => first + index).join(",");
  }

  const { tokenizerSource } = config.modelLoadingConfig;
  const flags = vllmFlags({
    served_model_name: [config.modelId],
    host: where.host ?? host,
    port: where.port ?? port ?? endpoint?.port ?? defaultPort,
    tokenizer: tokenizerSource,
    hf_token: typeof token === "string" ? undefined : token,
    ...kwargs,
    ...dataParallel,
    ...("kv_transfer_config" in kwargs ? { kv_transfer_config: kv.kvTransferConfig } : {}),
  });
  const model = modelOf(config);
  notes.push(...flags.notes, ...model.notes, ...loraNotes(config), ...engine.notes);
  return new VllmCommand(["vllm", "serve", model.name, ...flags.words], env, notes);
}

/** One engine process of a model. */
interface EngineProcess {
  /** Data-parallel ranks in all. */
  readonly size: number;
  /** First rank it holds. */
  readonly start: number;
  /** How many ranks it holds. */
  readonly ranks: number;
  /** Ranks of other processes before it on its node. */
  readonly placeOnNode: number;
  readonly notes: readonly string[];
}

/** One process for each rank, as in Ray, unless the endpoints say that some hold several. */
function processOf(config: VllmCommandSource, rank: number): EngineProcess {
  const { size, perNode } = dataParallelLayout(config);
  if (size === 1) return { size, start: 0, ranks: 1, placeOnNode: 0, notes: [] };
  const held = ranksOfProcesses(config, size, perNode);
  const ranks = held[rank];
  if (ranks === undefined) {
    throw new ConfigurationError("toVllmCommand", [
      {
        path: ["rank"],
        type: "less_than",
        message: `There are ${held.length} processes for data_parallel_size ${size}`,
        expected: `0 to ${held.length - 1}`,
        received: String(rank),
      },
    ]);
  }
  const start = held.slice(0, rank).reduce((sum, each) => sum + each, 0);
  const notes =
    ranks === 1
      ? ["vLLM takes data_parallel_rank for mixture-of-experts models only; run others as plain replicas"]
      : [];
  return { size, start, ranks, placeOnNode: perNode === undefined ? 0 : start % perNode, notes };
}

function ranksOfProcesses(
  { endpoints }: VllmCommandSource,
  size: number,
  perNode: number | undefined,
): readonly number[] {
  if (isEndpointList(endpoints)) {
    const held = endpoints.map(({ dpRanks = 1 }) => dpRanks);
    if (held.reduce((sum, each) => sum + each, 0) === size) return held;
    if (perNode !== undefined && held.length === size / perNode) return held.map(() => perNode);
  }
  return Array.from({ length: size }, () => 1);
}

/** Who gives one of these has thought about where the ranks run. */
const ownLayout = [
  "data_parallel_hybrid_lb",
  "data_parallel_multi_port_external_lb",
  "data_parallel_size_local",
  "data_parallel_start_rank",
] as const;

/** vLLM's ways to run data parallelism: one rank a process, some ranks of a node, or all in one. */
function dataParallelKwargs(
  kwargs: Readonly<Record<string, unknown>>,
  { size, start, ranks }: EngineProcess,
  firstHost: string,
): Readonly<Record<string, unknown>> {
  if (size === 1 || ranks === size || ownLayout.some((name) => name in kwargs)) return {};
  const meeting = {
    data_parallel_address: kwargs["data_parallel_address"] ?? firstHost,
    data_parallel_rpc_port: kwargs["data_parallel_rpc_port"] ?? defaultRpcPort,
  };
  return ranks === 1
    ? { data_parallel_rank: start, ...meeting }
    : {
        data_parallel_hybrid_lb: true,
        data_parallel_size_local: ranks,
        data_parallel_start_rank: start,
        ...meeting,
      };
}

function endpointOf(
  { endpoints }: VllmCommandSource,
  rank: number,
): { readonly host: string; readonly port: number | undefined } | undefined {
  const endpoint = isEndpointList(endpoints) ? endpoints[rank] : undefined;
  if (endpoint === undefined) return undefined;
  const { hostname, port } = new URL(endpoint.url);
  // Behind a URL without a port there is something else than an engine's own socket.
  return { host: hostname.replace(/^\[|\]$/g, ""), port: port === "" ? undefined : Number(port) };
}

function hostOf(config: VllmCommandSource, rank: number): string | undefined {
  return endpointOf(config, rank)?.host;
}

function environmentOf({ runtimeEnv }: VllmCommandSource): Readonly<Record<string, string>> {
  const variables = runtimeEnv?.["envVars"];
  if (!isPlainObject(variables)) return {};
  return Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, String(value)]));
}

/** Keys go into the environment: a command line is there for all to see. */
function secretsOf(
  { client }: VllmCommandSource,
  token: unknown,
  keys: unknown,
): Readonly<Record<string, string>> {
  const list: readonly unknown[] = Array.isArray(keys) ? keys : [keys ?? client.apiKey];
  if (list.length > 1) {
    throw configurationProblem(
      "The vllm serve command",
      ["engine_kwargs", "api_key"],
      "Several keys could only stand in plain sight on the command line; give vLLM one, or a --config file of its own",
    );
  }
  const [key] = list;
  return {
    ...(typeof token === "string" ? { HF_TOKEN: token } : {}),
    ...(typeof key === "string" && key !== "" ? { VLLM_API_KEY: key } : {}),
  };
}

function refuseManaged(kwargs: Readonly<Record<string, unknown>>): void {
  for (const argument of ["model", "served_model_name"]) {
    if (argument in kwargs) {
      throw configurationProblem("engine_kwargs", ["engine_kwargs", argument], managedArgumentMessage);
    }
  }
}

/** What is loaded: an id or path, or the bucket itself where vLLM streams the weights from it. */
function modelOf(config: VllmCommandSource): { readonly name: string; readonly notes: readonly string[] } {
  const { actualHfModelId, mirrorConfig } = config.getEngineConfig();
  const bucket = mirrorConfig?.bucketUri;
  if (bucket === undefined) return { name: actualHfModelId, notes: [] };
  const format = config.engineKwargs["load_format"];
  if (typeof format === "string" && format.startsWith("runai_streamer")) return { name: bucket, notes: [] };
  return {
    name: actualHfModelId,
    notes: [`the weights are in ${bucket}: copy them to where the engine runs, and name that folder`],
  };
}

function loraNotes({ loraConfig, engineKwargs }: VllmCommandSource): readonly string[] {
  if (loraConfig === undefined) return [];
  return engineKwargs["enable_lora"] === true
    ? ["adapters are loaded at run time only with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in the environment"]
    : ["lora_config is set, but engine_kwargs.enable_lora is not: the engine takes no adapters"];
}
