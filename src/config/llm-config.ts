import { ConfigurationError } from "../errors/configuration-error.ts";
import { type AcceleratorConfig, resolveAccelerator } from "./accelerators.ts";
import type { CallbackConfig } from "./callback-config.ts";
import { snakeCased } from "./casing.ts";
import { type ClassReference, className, defaultClassPaths } from "./class-reference.ts";
import { type ClientConfig, clientConfigSchema } from "./client-config.ts";
import { type Endpoints, isEndpointList } from "./endpoint.ts";
import { EngineConfig } from "./engine-config.ts";
import {
  experimentalFlag,
  type ExperimentalConfigs,
  experimentalNotes,
  streamBatchingIntervalMs,
} from "./experimental-configs.ts";
import { connectorNote, type KvTransferConfig, readKvTransferConfig } from "./kv-transfer-config.ts";
import { configProblems, resourceNotes, scalingNotes } from "./llm-config-checks.ts";
import type { LLMConfigInit, LLMDeploymentOptions, RayLLMConfigInit } from "./llm-config-init.ts";
import { deploymentOptionsShape, llmConfigSchema, type PlacementGroupPart } from "./llm-config-schema.ts";
import { type LoraConfig, loraConfigSchema } from "./lora-config.ts";
import { type ModelLoadingConfig, modelLoadingConfigSchema } from "./model-loading-config.ts";
import { parseConfig, parseConfigDetailed } from "./parse-config.ts";
import { namedBundles, type PlacementGroupConfig, placementGroupSchema } from "./placement-group-config.ts";
import { pythonDump } from "./python-dump.ts";
import { llmConfigForRay } from "./ray-export.ts";
import { parseYaml, readConfigFile } from "./read-yaml.ts";
import { type RuntimeEnv, runtimeEnvSchema } from "./runtime-env.ts";
import type { ScalingTarget } from "./scaling-target.ts";
import type { ScalingTargetSource } from "./scaling-target-source.ts";
import { vllmCommand, type VllmCommandOptions } from "./vllm-command.ts";
import type { VllmCommand } from "./vllm-command-line.ts";

/** Limits on loading adapters. Ray's `ServeMultiplexConfig`. */
export interface MultiplexConfig {
  /** Adapters a replica keeps at once. */
  readonly maxNumModelsPerReplica: number;
  /** Seconds; null waits for ever. */
  readonly downloadTimeoutS: number | null;
  readonly maxDownloadTries: number;
}

/** What is looked at in a model's Hugging Face `config.json`. */
export interface CheckpointConfig {
  readonly architectures?: readonly string[] | null | undefined;
  readonly vision_config?: unknown;
}

/** Ray's placeholder until {@link LLMConfig.applyCheckpointInfo} was called. */
const unspecifiedArchitecture = "UNSPECIFIED";

/**
 * The configuration of one model: its engines, its deployment, and (ours) where the engines are. Ray's `LLMConfig`.
 *
 * Checked completely when made; making one starts nothing. Builders copy it, so one object may serve both sides of
 * prefill/decode.
 */
export class LLMConfig {
  /** Environment of the engine's processes; kept for export. @default undefined */
  readonly runtimeEnv: RuntimeEnv | undefined;
  /** The model: its public id, and where the weights are. */
  readonly modelLoadingConfig: ModelLoadingConfig;
  /** Only `"vLLM"`. */
  readonly llmEngine: "vLLM";
  /** As Ray spells it (`A10` was made `A10G`). @default undefined */
  readonly acceleratorType: string | undefined;
  /** Resolved: what was given, or what follows from the bundles and the accelerator type. @default GPU */
  readonly acceleratorConfig: AcceleratorConfig;
  /** Resources of an engine; kept for export. @default undefined */
  readonly placementGroupConfig: PlacementGroupConfig | undefined;
  /** @default undefined: no adapters */
  readonly loraConfig: LoraConfig | undefined;
  /** Options as given (no defaults, no coercion), keys in camelCase. @default {} */
  readonly deploymentConfig: LLMDeploymentOptions;
  /** @default undefined: the builder's own class */
  readonly serverCls: ClassReference | undefined;
  /** Keys as Ray spells them, whichever spelling was given. @default {} */
  readonly experimentalConfigs: ExperimentalConfigs;
  /** Whether engines report metrics; undefined when null was given. @default true */
  readonly logEngineMetrics: boolean | undefined;
  /** Kept for export. */
  readonly callbackConfig: CallbackConfig;
  #engineKwargs: Readonly<Record<string, unknown>>;
  #engineConfig: EngineConfig | undefined;
  #supportsVision = false;
  #modelArchitecture = unspecifiedArchitecture;
  readonly #init: Readonly<Record<string, unknown>>;
  readonly #givenPlacementGroup: unknown;
  readonly #endpoints: Endpoints | undefined;
  readonly #scalingTarget: ScalingTarget | ScalingTargetSource | undefined;
  readonly #client: ClientConfig;

  /**
   * @param init in camelCase or in Ray's snake_case; another LLMConfig is copied
   * @throws {ConfigurationError} naming every problem
   */
  constructor(init: LLMConfigInit | RayLLMConfigInit | LLMConfig) {
    const source: unknown = init instanceof LLMConfig ? init.#currentInit() : init;
    const { value, given, userPath } = parseConfigDetailed(llmConfigSchema, source, "LLMConfig");
    const placementGroup: PlacementGroupPart | undefined = value.placementGroupConfig;
    this.#init = given as Readonly<Record<string, unknown>>;
    this.runtimeEnv = value.runtimeEnv;
    this.modelLoadingConfig = value.modelLoadingConfig;
    this.llmEngine = value.llmEngine;
    this.#engineKwargs = value.engineKwargs;
    this.acceleratorType = value.acceleratorType;
    this.placementGroupConfig = placementGroup?.parsed;
    this.#givenPlacementGroup = placementGroup?.given;
    this.acceleratorConfig = resolveAccelerator({
      acceleratorType: value.acceleratorType,
      acceleratorConfig: value.acceleratorConfig,
      bundles: isEmpty(placementGroup?.given) ? undefined : namedBundles(placementGroup?.parsed ?? {}),
    });
    this.loraConfig = value.loraConfig;
    this.deploymentConfig = value.deploymentConfig;
    this.serverCls = value.serverCls;
    this.experimentalConfigs = value.experimentalConfigs;
    this.logEngineMetrics = value.logEngineMetrics ?? undefined;
    this.callbackConfig = value.callbackConfig;
    this.#endpoints = value.endpoints;
    this.#scalingTarget = value.scalingTarget;
    this.#client = value.client ?? parseConfig(clientConfigSchema, {}, "client");
    const problems = configProblems(this);
    if (problems.length > 0) {
      throw new ConfigurationError(
        "LLMConfig",
        problems.map((problem) => ({ ...problem, path: userPath(problem.path) })),
      );
    }
    if (init instanceof LLMConfig) {
      this.#supportsVision = init.#supportsVision;
      this.#modelArchitecture = init.#modelArchitecture;
    }
  }

  /** Reads a YAML file, at once. Ray's `LLMConfig.from_file`. @throws {ConfigurationError} */
  static fromFile(path: string): LLMConfig {
    return LLMConfig.parseYaml(readConfigFile(path));
  }

  /** Reads YAML text. Ray's `LLMConfig.parse_yaml`. @throws {ConfigurationError} */
  static parseYaml(text: string): LLMConfig {
    return new LLMConfig(parseYaml(text, "LLMConfig") as LLMConfigInit);
  }

  /** A copy with some fields replaced. @throws {ConfigurationError} when the result is not valid */
  with(changes: Partial<LLMConfigInit>): LLMConfig {
    const copy = new LLMConfig({ ...this.#currentInit(), ...changes } as unknown as LLMConfigInit);
    copy.#supportsVision = this.#supportsVision;
    copy.#modelArchitecture = this.#modelArchitecture;
    return copy;
  }

  /** vLLM's engine arguments, as given. @default {} */
  get engineKwargs(): Readonly<Record<string, unknown>> {
    return this.#engineKwargs;
  }

  /** Where the engines are; undefined when the configuration does not say. Ours. */
  get endpoints(): Endpoints | undefined {
    return this.#endpoints;
  }

  /** What starts and stops engines; undefined when others do. Ours. */
  get scalingTarget(): ScalingTarget | ScalingTargetSource | undefined {
    return this.#scalingTarget;
  }

  /** How to talk to the engines, defaults filled in. Ours. */
  get client(): ClientConfig {
    return this.#client;
  }

  /** Public name of the model. Ray's `model_id`. */
  get modelId(): string {
    return this.modelLoadingConfig.modelId;
  }

  /** `"image"` when the checkpoint was seen to have a vision part. Ray's `input_modality`. */
  get inputModality(): "image" | "text" {
    return this.#supportsVision ? "image" : "text";
  }

  /** `engine_kwargs.max_model_len` as given (vLLM also takes `"8k"`); undefined when unset. */
  get maxRequestContextLength(): number | string | undefined {
    return (this.#engineKwargs["max_model_len"] ?? undefined) as number | string | undefined;
  }

  /** False until {@link applyCheckpointInfo} said otherwise. */
  get supportsVision(): boolean {
    return this.#supportsVision;
  }

  /** `"UNSPECIFIED"` until {@link applyCheckpointInfo} said otherwise. */
  get modelArchitecture(): string {
    return this.#modelArchitecture;
  }

  /** `engine_kwargs.kv_transfer_config`, or undefined when there is none that names a connector. */
  get kvTransferConfig(): KvTransferConfig | undefined {
    const read = readKvTransferConfig(this.#engineKwargs);
    return read !== undefined && "kvConnector" in read ? read : undefined;
  }

  /** `engine_kwargs.data_parallel_size`, at least 1. @default 1 */
  get dataParallelSize(): number {
    return (this.#engineKwargs["data_parallel_size"] ?? 1) as number;
  }

  /**
   * Milliseconds for which tokens of a stream are gathered; 0 sends each at once.
   *
   * @param fallback when the configuration does not say; Ray's is 50
   * @throws {ConfigurationError} when the option is no number >= 0
   */
  streamBatchingIntervalMs(fallback: number): number {
    return streamBatchingIntervalMs(this.experimentalConfigs, fallback);
  }

  /** `experimental_configs.pd_tokenize_once`. @default false */
  get pdTokenizeOnce(): boolean {
    return experimentalFlag(this.experimentalConfigs, "pd_tokenize_once");
  }

  /** `experimental_configs._prewarm_prefill_decode`. @default false */
  get prewarmPrefillDecode(): boolean {
    return experimentalFlag(this.experimentalConfigs, "_prewarm_prefill_decode");
  }

  /** Learns from a model's `config.json`: vision or not, and its architecture. Ray's `apply_checkpoint_info`. */
  applyCheckpointInfo(checkpoint: CheckpointConfig): void {
    this.#supportsVision = checkpoint.vision_config !== undefined;
    this.#modelArchitecture = checkpoint.architectures?.[0] ?? unspecifiedArchitecture;
  }

  /** Changes engine arguments of this object. Ray's `update_engine_kwargs`. @throws {ConfigurationError}, changing nothing */
  updateEngineKwargs(changes: Readonly<Record<string, unknown>>): void {
    const engineKwargs = { ...this.#engineKwargs, ...changes };
    this.#engineKwargs = this.with({ engineKwargs }).#engineKwargs;
    this.#engineConfig = undefined;
  }

  /** Limits on loading adapters, or undefined without `loraConfig`. Ray's `multiplex_config()`. */
  multiplexConfig(): MultiplexConfig | undefined {
    if (this.loraConfig === undefined) return undefined;
    const { maxNumAdaptersPerReplica, downloadTimeoutS, maxDownloadTries } = this.loraConfig;
    return { maxNumModelsPerReplica: maxNumAdaptersPerReplica, downloadTimeoutS, maxDownloadTries };
  }

  /** What vLLM would be started with; the same object each time. Ray's `get_engine_config()`. @throws {ConfigurationError} */
  getEngineConfig(): EngineConfig {
    this.#engineConfig ??= new EngineConfig({
      modelLoadingConfig: this.modelLoadingConfig,
      engineKwargs: this.#engineKwargs,
      accelerator: this.acceleratorConfig,
      acceleratorType: this.acceleratorType,
      placementGroupConfig: this.placementGroupConfig,
    });
    return this.#engineConfig;
  }

  /**
   * The `vllm serve` command that starts one engine of this model.
   *
   * @example config.toVllmCommand({ role: "prefill", rank: 0, nodeIp: "10.0.0.9" }).toShell()
   * @throws {ConfigurationError} for options or engine arguments that no command could have
   */
  toVllmCommand(options: VllmCommandOptions = {}): VllmCommand {
    return vllmCommand(this, options);
  }

  /** What was accepted but can't have the effect its author may expect. */
  notes(): readonly string[] {
    const notes = [
      ...experimentalNotes(this.experimentalConfigs),
      ...resourceNotes(this),
      ...scalingNotes(this),
    ];
    const connector = this.kvTransferConfig?.kvConnector;
    const note = connector === undefined ? undefined : connectorNote(connector);
    return note === undefined ? notes : [...notes, note];
  }

  /** Ray's `model_dump()`: snake_case, without `endpoints` and `client`. */
  toPython(): Readonly<Record<string, unknown>> {
    return {
      runtime_env: snakeCased(runtimeEnvSchema, this.runtimeEnv) ?? null,
      model_loading_config: pythonDump(modelLoadingConfigSchema, this.modelLoadingConfig),
      llm_engine: this.llmEngine,
      engine_kwargs: this.#engineKwargs,
      accelerator_type: this.acceleratorType ?? null,
      accelerator_config: this.#acceleratorToPython(),
      placement_group_config: snakeCased(placementGroupSchema, this.#givenPlacementGroup) ?? null,
      lora_config: this.loraConfig === undefined ? null : pythonDump(loraConfigSchema, this.loraConfig),
      deployment_config: snakeCased(deploymentOptionsShape, this.deploymentConfig),
      server_cls: classToPython(this.serverCls),
      experimental_configs: this.experimentalConfigs,
      log_engine_metrics: this.logEngineMetrics ?? null,
      callback_config: {
        callback_class: classToPython(this.callbackConfig.callbackClass) ?? defaultClassPaths.callback,
        callback_kwargs: this.callbackConfig.callbackKwargs,
        raise_error_on_callback: this.callbackConfig.raiseErrorOnCallback,
      },
    };
  }

  /**
   * What was given, for Ray: in its spelling, without defaults, `endpoints`, `scalingTarget` and `client`. Reading it
   * again gives an equal configuration. Secrets in `runtime_env` and `engine_kwargs` are in it, as in Ray's file.
   *
   * @throws {ConfigurationError} for classes that Ray could not import
   */
  toServeArgs(): Readonly<Record<string, unknown>> {
    const init = this.#currentInit();
    return llmConfigForRay({
      ...init,
      // Spelled as Ray spells them.
      ...("experimentalConfigs" in init ? { experimentalConfigs: this.experimentalConfigs } : {}),
    });
  }

  /** {@link toPython}, and ours: endpoints and timeouts. API keys, headers and TLS material are left out. */
  toJSON(): Readonly<Record<string, unknown>> {
    const { apiKey: _apiKey, headers: _headers, tls: _tls, ...timeouts } = this.#client;
    const given = this.#endpoints;
    const endpoints = isEndpointList(given)
      ? given.map(({ apiKey: _key, headers: _own, ...endpoint }) => endpoint)
      : typeof given === "function"
        ? undefined
        : given;
    return { ...this.toPython(), ...(endpoints === undefined ? {} : { endpoints }), client: timeouts };
  }

  #currentInit(): Readonly<Record<string, unknown>> {
    const unsaid = !("engineKwargs" in this.#init) && Object.keys(this.#engineKwargs).length === 0;
    return unsaid ? this.#init : { ...this.#init, engineKwargs: this.#engineKwargs };
  }

  #acceleratorToPython(): unknown {
    const accelerator = this.acceleratorConfig;
    return accelerator.kind === "tpu" ? { kind: "tpu", topology: accelerator.topology ?? null } : accelerator;
  }
}

function classToPython(reference: ClassReference | undefined): string | null {
  if (reference === undefined) return null;
  return typeof reference === "string" ? reference : className(reference);
}

function isEmpty(value: unknown): boolean {
  return value === undefined || Object.keys(value as object).length === 0;
}
