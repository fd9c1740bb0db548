import { ConfigurationError } from "../errors/configuration-error.ts";
import { type AcceleratorConfig, configurationProblem } from "./accelerators.ts";
import { integer } from "./lax-schema.ts";
import type { CloudMirrorConfig, ModelLoadingConfig } from "./model-loading-config.ts";
import { suggestion } from "./nearest-name.ts";
import { defersPlacementGroup, placementBundles } from "./placement-bundles.ts";
import {
  noBundlesMessage,
  type PlacementGroupConfig,
  type PlacementStrategy,
  type ResourceBundle,
} from "./placement-group-config.ts";
import { isRemoteUri } from "./remote-uri.ts";
import { removedVllmArguments, vllmEngineArguments, vllmFrontendArguments } from "./vllm-engine-arguments.ts";

/** Ray's words for engine arguments that follow from the model. */
export const managedArgumentMessage =
  "model or served_model_name is not allowed in engine_kwargs when using Ray Serve LLM. " +
  "Please use `model_loading_config` in LLMConfig instead.";

/** What an engine configuration is made from. */
export interface EngineConfigInputs {
  readonly modelLoadingConfig: ModelLoadingConfig;
  readonly engineKwargs: Readonly<Record<string, unknown>>;
  readonly accelerator: AcceleratorConfig;
  readonly acceleratorType: string | undefined;
  readonly placementGroupConfig: PlacementGroupConfig | undefined;
}

/**
 * What vLLM would be started with. Ray's `VLLMEngineConfig`. Engines are started elsewhere here: this is for export,
 * and for refusing what no engine would start with.
 */
export class EngineConfig {
  readonly modelId: string;
  /** Hugging Face id or path of the weights; undefined when they come from a mirror object. */
  readonly hfModelId: string | undefined;
  readonly mirrorConfig: CloudMirrorConfig | undefined;
  /** Arguments of the engine, as given. */
  readonly engineKwargs: Readonly<Record<string, unknown>>;
  /** Arguments of vLLM's HTTP server, as given. */
  readonly frontendKwargs: Readonly<Record<string, unknown>>;
  readonly accelerator: AcceleratorConfig;
  /** `tensor_parallel_size * pipeline_parallel_size`, at least 1. */
  readonly numDevices: number;
  readonly placementGroupConfig: PlacementGroupConfig | undefined;
  readonly placementStrategy: PlacementStrategy;
  readonly #acceleratorType: string | undefined;

  /** @throws {ConfigurationError} for unknown engine arguments, wrong sizes, or a placement group without bundles */
  constructor(inputs: EngineConfigInputs) {
    const { modelId, modelSource } = inputs.modelLoadingConfig;
    this.modelId = modelId;
    if (typeof modelSource === "object") {
      this.hfModelId = undefined;
      this.mirrorConfig = modelSource;
    } else {
      const remote = modelSource !== undefined && isRemoteUri(modelSource);
      this.hfModelId = remote ? modelId : (modelSource ?? modelId);
      this.mirrorConfig = remote ? { bucketUri: modelSource, extraFiles: [] } : undefined;
    }
    const [engineKwargs, frontendKwargs] = splitArguments(inputs.engineKwargs);
    this.engineKwargs = engineKwargs;
    this.frontendKwargs = frontendKwargs;
    this.accelerator = inputs.accelerator;
    this.#acceleratorType = inputs.acceleratorType;
    this.numDevices = countDevices(inputs.engineKwargs);
    const group = inputs.placementGroupConfig;
    if (group !== undefined && group.bundles === undefined && group.bundlePerWorker === undefined) {
      throw configurationProblem("LLMConfig", ["placement_group_config"], noBundlesMessage);
    }
    this.placementGroupConfig = group;
    this.placementStrategy = group?.strategy ?? "PACK";
  }

  /** What vLLM loads: `hfModelId`, or the model id when there is none. Ray's `actual_hf_model_id`. */
  get actualHfModelId(): string {
    return this.hfModelId === undefined || this.hfModelId === "" ? this.modelId : this.hfModelId;
  }

  get trustRemoteCode(): boolean {
    return Boolean(this.engineKwargs["trust_remote_code"]);
  }

  /** True when Ray would leave the placement group to the replica (a TPU slice). */
  get requiresDeferredPlacementGroup(): boolean {
    return defersPlacementGroup(this.accelerator);
  }

  /** The bundles of one engine. @throws {ConfigurationError} for a TPU topology that does not fit */
  get placementBundles(): readonly ResourceBundle[] {
    return placementBundles({
      numDevices: this.numDevices,
      accelerator: this.accelerator,
      acceleratorType: this.#acceleratorType,
      placementGroup: this.placementGroupConfig,
    });
  }

  /**
   * Arguments for starting the engine under Ray. Ray's `get_initialization_kwargs`.
   *
   * @throws {ConfigurationError} for arguments that Ray sets itself
   */
  initializationKwargs(): Readonly<Record<string, unknown>> {
    const refuse = (argument: string, message: string): never => {
      throw configurationProblem("engine_kwargs", ["engine_kwargs", argument], message);
    };
    for (const argument of ["model", "served_model_name"]) {
      if (!(argument in this.engineKwargs)) continue;
      refuse(argument, managedArgumentMessage);
    }
    const backend = this.accelerator.kind === "cpu" ? "mp" : "ray";
    const given = this.engineKwargs["distributed_executor_backend"];
    if (given !== undefined && given !== null && given !== backend) {
      // On CPUs Ray overwrites the user's choice without a word; a refusal says what will run instead.
      refuse(
        "distributed_executor_backend",
        `distributed_executor_backend != '${backend}' is not allowed in engine_kwargs when using Ray Serve LLM Configs.`,
      );
    }
    return {
      enable_log_requests: false,
      ...this.engineKwargs,
      model: this.actualHfModelId,
      served_model_name: [this.modelId],
      distributed_executor_backend: backend,
    };
  }
}

function splitArguments(
  kwargs: Readonly<Record<string, unknown>>,
): readonly [Readonly<Record<string, unknown>>, Readonly<Record<string, unknown>>] {
  const engine: Record<string, unknown> = {};
  const frontend: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(kwargs)) {
    if (vllmFrontendArguments.has(key)) frontend[key] = value;
    else engine[key] = value;
  }
  return [engine, frontend];
}

/** Problems with engine arguments that can be seen without an engine. */
export function engineArgumentProblems(
  kwargs: Readonly<Record<string, unknown>>,
): readonly { readonly key: string; readonly message: string }[] {
  const problems: { key: string; message: string }[] = [];
  const known = (key: string): boolean =>
    vllmEngineArguments.has(key) || vllmFrontendArguments.has(key) || removedVllmArguments.has(key);
  for (const [key, value] of Object.entries(kwargs)) {
    if (!known(key)) {
      const names = [...vllmEngineArguments, ...vllmFrontendArguments];
      problems.push({ key, message: `Unknown engine argument: ${key}${suggestion(key, names)}` });
    } else if (sizeArguments.includes(key) && value !== null && readSize(value) === undefined) {
      problems.push({ key, message: `${key} should be a positive integer` });
    }
  }
  return problems;
}

const sizeArguments: readonly string[] = ["tensor_parallel_size", "pipeline_parallel_size"];
const size = integer({ atLeast: 1 });

function readSize(value: unknown): number | undefined {
  const parsed = size.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}

function countDevices(kwargs: Readonly<Record<string, unknown>>): number {
  return sizeArguments.reduce((product, key) => {
    const value = kwargs[key];
    return product * (value === undefined || value === null ? 1 : sizeOrThrow(key, value));
  }, 1);
}

function sizeOrThrow(key: string, value: unknown): number {
  const read = readSize(value);
  if (read !== undefined) return read;
  throw new ConfigurationError("LLMConfig", [
    { path: ["engine_kwargs", key], type: "value_error", message: `${key} should be a positive integer` },
  ]);
}
