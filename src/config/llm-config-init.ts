import type { AcceleratorConfig } from "./accelerators.ts";
import type { ClassReference } from "./class-reference.ts";
import type { ClientConfigInit } from "./client-config.ts";
import type { DeploymentConfigOptions } from "./deployment-config.ts";
import type { EndpointsInit } from "./endpoint.ts";
import type { ModelLoadingConfig } from "./model-loading-config.ts";
import type { PlacementGroupConfig } from "./placement-group-config.ts";
import type { RayCase } from "./ray-case.ts";
import type { ScalingTarget } from "./scaling-target.ts";
import type { ScalingTargetSource } from "./scaling-target-source.ts";

/** `ray_actor_options`: what one replica actor of Ray asks for. Kept for export. */
export interface RayActorOptions {
  /** @default 1 */
  readonly numCpus?: number | undefined;
  /** @default 0 */
  readonly numGpus?: number | undefined;
  /** Bytes. */
  readonly memory?: number | undefined;
  readonly resources?: Readonly<Record<string, number>> | undefined;
  readonly acceleratorType?: string | undefined;
  readonly runtimeEnv?: Readonly<Record<string, unknown>> | undefined;
  readonly labelSelector?: Readonly<Record<string, string>> | undefined;
  readonly fallbackStrategy?: readonly unknown[] | undefined;
}

/** Options of the deployment of one model: Serve's own, and those Ray reads beside them. */
export interface LLMDeploymentOptions extends Omit<DeploymentConfigOptions, "numReplicas"> {
  /** Name of the deployment, after its prefix. @default the model id, with `/` as `--` and `.` as `_` */
  readonly name?: string | undefined;
  /** A fixed number of replicas, or `"auto"` for autoscaling between 1 and 100. Not with `autoscalingConfig`. @default 1 */
  readonly numReplicas?: number | "auto" | null | undefined;
  /** What a replica actor of Ray asks for. Kept for export. @default none */
  readonly rayActorOptions?: RayActorOptions | undefined;
  /** 1 to 100. Kept for export. */
  readonly maxReplicasPerNode?: number | null | undefined;
}

/** `callback_config` as a user gives it. Ray's `CallbackConfig`. Kept for export. */
export interface CallbackConfigInit {
  /** Class of the callback, or its import path. @default none */
  readonly callbackClass?: ClassReference | undefined;
  /** @default {} */
  readonly callbackKwargs?: Readonly<Record<string, unknown>> | undefined;
  /** @default true */
  readonly raiseErrorOnCallback?: boolean | undefined;
}

/** `lora_config` as a user gives it. Ray's `LoraConfig`. */
export interface LoraConfigInit {
  /** `s3://`, `gs://`, `abfss://` or `azure://` folder with one sub-folder for each adapter. */
  readonly dynamicLoraLoadingPath?: string | null | undefined;
  /** Adapters a replica keeps at once, >= 1. @default 16 */
  readonly maxNumAdaptersPerReplica?: number | undefined;
  /** Seconds, > 0; null waits for ever. @default 30 */
  readonly downloadTimeoutS?: number | null | undefined;
  /** Tries, >= 1. @default 3 */
  readonly maxDownloadTries?: number | undefined;
}

/** Options Ray calls experimental; unknown keys are kept. */
export interface ExperimentalConfigsInit {
  /** Milliseconds for which tokens of a stream are gathered; 0 sends each at once. @default the server's */
  readonly streamBatchingIntervalMs?: number | null | undefined;
  /** Has no effect here: the ingress runs in the process that serves HTTP. */
  readonly numIngressReplicas?: number | undefined;
  /** Ranks a node holds, for DP + PD. Kept for export. */
  readonly dpSizePerNode?: number | undefined;
  /** Send prefill's token ids to decode, so that the prompt is tokenised once. @default false */
  readonly pdTokenizeOnce?: boolean | undefined;
  /** Move KV once between every prefill and decode replica before traffic. @default false */
  readonly _prewarmPrefillDecode?: boolean | undefined;
  readonly [key: string]: unknown;
}

/**
 * The configuration of one model's engines. Ray's `LLMConfig(...)`, in camelCase; Ray's own spelling is taken too
 * ({@link RayLLMConfigInit}), also mixed, but one key must not be given in both.
 */
export interface LLMConfigInit {
  /** The model: its public id, and where the weights are. Required. */
  readonly modelLoadingConfig: ModelLoadingConfig;
  /** Only `"vLLM"`. @default "vLLM" */
  readonly llmEngine?: "vLLM" | undefined;
  /** vLLM's engine arguments, as vLLM spells them. Never renamed. @default {} */
  readonly engineKwargs?: Readonly<Record<string, unknown>> | undefined;
  /** GPU or TPU type exactly as Ray spells it, for example `"A100"`, `"L4"`, `"TPU-V6E"`. @default none */
  readonly acceleratorType?: string | null | undefined;
  /** @default found from `placementGroupConfig` and `acceleratorType` */
  readonly acceleratorConfig?: AcceleratorConfig | null | undefined;
  /** Resources of an engine. Kept for export. @default none */
  readonly placementGroupConfig?: PlacementGroupConfig | null | undefined;
  /** LoRA adapters; the same on prefill and decode. @default none */
  readonly loraConfig?: LoraConfigInit | null | undefined;
  /** Replicas, autoscaling, admission, health. @default {} */
  readonly deploymentConfig?: LLMDeploymentOptions | undefined;
  /** Class of the server, when not the builder's own. @default none */
  readonly serverCls?: ClassReference | null | undefined;
  /** @default {} */
  readonly experimentalConfigs?: ExperimentalConfigsInit | undefined;
  /** Whether engines report metrics; excludes `engineKwargs.disable_log_stats`. @default true */
  readonly logEngineMetrics?: boolean | null | undefined;
  /** Environment of the engine's processes (`envVars`, `pip` ...). Kept for export. @default none */
  readonly runtimeEnv?: Readonly<Record<string, unknown>> | null | undefined;
  /** What runs where an engine starts. Kept for export. @default none */
  readonly callbackConfig?: CallbackConfigInit | undefined;
  /** Where the engines are. Ours. @default none: the builder or the command line must say */
  readonly endpoints?: EndpointsInit | undefined;
  /** What starts and stops engines when `autoscalingConfig` or `numReplicas` asks for it. Ours. @default none */
  readonly scalingTarget?: ScalingTarget | ScalingTargetSource | undefined;
  /** How to talk to them: keys, TLS, timeouts. Ours. */
  readonly client?: ClientConfigInit | undefined;
}

/** {@link LLMConfigInit} in Ray's snake_case, so that a Python dict can be pasted. */
export type RayLLMConfigInit = RayCase<LLMConfigInit>;
