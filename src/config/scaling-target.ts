import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import { isPlainObject, reading, type SchemaProblem } from "./lax-schema.ts";
import type { Discovery, Endpoint } from "./endpoint.ts";
import type { VllmCommandOptions } from "./vllm-command.ts";
import { readScalingTargetSource, type ScalingTargetSource } from "./scaling-target-source.ts";
import type { VllmCommand } from "./vllm-command-line.ts";
import type * as z from "zod";

/** The engines a deployment needs, for a target that starts them. */
export interface EngineTemplate {
  /** Accelerators of one engine, 0 or more. */
  readonly devices: number;
  /** Ranks of one data-parallel group; 1 without. Then every engine is a rank, and its endpoint says which. */
  readonly dataParallelSize: number;
  /**
   * The command that starts one: `LLMConfig.toVllmCommand`, for the side of prefill/decode the deployment is.
   *
   * @throws ConfigurationError for options or engine arguments that no command could have
   */
  readonly command: (options: VllmCommandOptions) => VllmCommand;
}

/** What a {@link ScalingTarget} gets from the deployment it works for. */
export interface ScalingContext {
  /** Name of the deployment, for messages and log prefixes. */
  readonly deployment: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly engine: EngineTemplate;
  /** Milliseconds from one health check to the next, and that one may take, from the deployment's options. */
  readonly healthCheck: { readonly periodMs: number; readonly timeoutMs: number };
  /** For what a person should know. */
  readonly warn: (message: string) => void;
  /**
   * Takes the replicas whose endpoint matches out of service and resolves when nothing uses them any more: no
   * request, and on prefill no KV that decode has yet to fetch. To be awaited before an engine is stopped. What still
   * uses them after `gracefulShutdownTimeoutS`, where that is set, fails.
   */
  readonly drain: (matches: (endpoint: Endpoint) => boolean) => Promise<void>;
  /** Takes endpoints back that were drained, and that `endpoints` lists as before: their engines stay after all. */
  readonly readmit: (matches: (endpoint: Endpoint) => boolean) => void;
  /**
   * Asks an engine something, with the deployment's API key, TLS and headers.
   *
   * @throws EngineTimeoutError, EngineConnectionError
   */
  readonly call: (endpoint: Endpoint, request: EngineQuestion) => Promise<EngineReply>;
}

/** A question a scaling target asks an engine. */
export interface EngineQuestion {
  readonly method: "GET" | "POST";
  /** With a leading slash, for example `/health`. */
  readonly path: string;
  /** Milliseconds to the last byte of the answer, > 0. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** What the engine answered. */
export interface EngineReply {
  readonly status: number;
  readonly body: string;
}

/**
 * What makes engines come and go: the one port between autoscaling and the world. Ours; Ray starts its own replicas.
 *
 * A target says how many; which endpoints there are is the business of `endpoints`, which may be the target's own.
 */
export interface ScalingTarget {
  /** The engines that run and are ready, when the target knows them; then the configuration needs no `endpoints`. */
  readonly endpoints?: Discovery | undefined;
  /** Called once, before anything else, when the deployment starts. */
  start?(context: ScalingContext): Promise<void>;
  /**
   * How many replicas are wanted at the moment; asked once, so that a restart of this process does not shrink what
   * grew before. Undefined, or no such method: not known, the deployment starts from its own options.
   */
  getReplicas?(signal: AbortSignal): Promise<number | undefined>;
  /**
   * Wants so many replicas from now on. Resolves when the world has taken note, or when they are there; never called
   * again before that. A rejection is reported and the call repeated, with a pause.
   *
   * @param replicas 0 or more
   */
  setReplicas(replicas: number, signal: AbortSignal): Promise<void>;
  /** The deployment ends. A target stops what it started itself. */
  stop?(): Promise<void>;
}

/** Reads `scalingTarget`: an object with the methods of {@link ScalingTarget}, kept as it is, or the name of one. */
export function scalingTargetSchema(): z.ZodType<ScalingTarget | ScalingTargetSource> {
  return reading((input): SchemaProblem | { readonly value: ScalingTarget | ScalingTargetSource } => {
    const { setReplicas, endpoints } = (typeof input === "object" && input !== null ? input : {}) as {
      readonly [Key in keyof ScalingTarget]?: unknown;
    };
    if (typeof setReplicas === "function" && (endpoints === undefined || typeof endpoints === "function")) {
      return { value: input as ScalingTarget };
    }
    if (isPlainObject(input) && setReplicas === undefined) return readScalingTargetSource(input);
    return {
      type: "value_error",
      message: "Input should be a scaling target",
      expected:
        "an object with a method setReplicas(replicas, signal), for example vllmProcesses({ ... }), or in YAML { processes: { ... } }",
    };
  });
}
