import { defaultTargetOngoingRequests, type AutoscalingConfig } from "../config/autoscaling-config.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { clampToBounds, fullCapacity, replicaBounds } from "./replica-bounds.ts";
import type { ReplicaBounds, TargetCapacity } from "./replica-bounds.ts";

/**
 * What one deployment's autoscaler remembers between decisions. Plain data: keep it, hand it back.
 */
export interface AutoscalingState {
  /**
   * How many decisions in a row wanted more replicas (positive) or fewer (negative).
   * Ray's `__decision_counters`.
   */
  readonly decisionCounter: number;
  /** When that run began, in seconds of the caller's clock; `null` outside one. Ray's `__decision_timestamp`. */
  readonly decisionTimestampS: number | null;
  /** What the deployment's own policy returned last time. */
  readonly custom: Readonly<Record<string, unknown>>;
}

/** The state of a deployment that was just registered. */
export const initialAutoscalingState: AutoscalingState = {
  decisionCounter: 0,
  decisionTimestampS: null,
  custom: {},
};

/** What a policy may look at. Ray's `AutoscalingContext`. */
export interface AutoscalingContext {
  readonly deployment: string;
  readonly application: string;
  readonly config: AutoscalingConfig;
  /** Replicas that run now. */
  readonly currentReplicas: number;
  /** Replicas that should run, by the last decision. */
  readonly targetReplicas: number;
  /** Requests queued and running, averaged as `aggregationFunction` says. Ray's `total_num_requests`. */
  readonly totalRequests: number;
  /** The queued part of `totalRequests`. */
  readonly queuedRequests: number;
  readonly bounds: ReplicaBounds;
  /** Seconds, of the same clock in every call. */
  readonly nowS: number;
  readonly state: AutoscalingState;
}

/** What a policy wants, before factors, delays and bounds. */
export interface DesiredReplicas {
  /** Any finite number; fractions are rounded up after the scaling factor. */
  readonly replicas: number;
  /** Handed back as `state.custom` next time; default: empty. */
  readonly state?: Readonly<Record<string, unknown>> | undefined;
}

/** Decides how many replicas a deployment should have. Ray's `policy_function`. */
export type AutoscalingPolicyFunction = (context: AutoscalingContext) => DesiredReplicas;

/** One decision. */
export interface AutoscalingDecision {
  /** The new target, inside the bounds. */
  readonly replicas: number;
  /** The same before the bounds; for metrics. */
  readonly beforeBounds: number;
  readonly state: AutoscalingState;
}

/** What {@link decideReplicas} needs to know. */
export interface AutoscalingInput {
  readonly deployment?: string | undefined;
  readonly application?: string | undefined;
  readonly config: AutoscalingConfig;
  readonly currentReplicas: number;
  readonly targetReplicas: number;
  readonly totalRequests: number;
  /** Default 0. */
  readonly queuedRequests?: number | undefined;
  readonly nowS: number;
  /** Default: that of a new deployment. */
  readonly state?: AutoscalingState | undefined;
  /** Default: all of it. */
  readonly capacity?: TargetCapacity | undefined;
  /** Decisions above 0 are rounded up to a multiple of it. Default 1. */
  readonly gangSize?: number | undefined;
}

// Differences of large clock values fall a little short of the configured delay.
const elapsedToleranceS = 1e-6;

/** Ray's default policy: enough replicas that each has `targetOngoingRequests`. */
export const queueLengthPolicy: AutoscalingPolicyFunction = ({
  currentReplicas,
  targetReplicas,
  totalRequests,
  config,
}) => {
  if (currentReplicas === 0) return { replicas: targetReplicas };
  // Ray accepts null here and then fails on every decision.
  const perReplica = config.targetOngoingRequests ?? defaultTargetOngoingRequests;
  return { replicas: currentReplicas * (totalRequests / (perReplica * currentReplicas)) };
};

/**
 * Decides the number of replicas of one deployment: cold start, the policy, scaling factor, delays, gang
 * multiple, bounds, in that order. Pure: everything it depends on is in its arguments.
 *
 * @throws ConfigurationError when `policy` returns something that is not a finite number
 */
export function decideReplicas(
  input: AutoscalingInput,
  policy: AutoscalingPolicyFunction = queueLengthPolicy,
): AutoscalingDecision {
  const context = autoscalingContext(input);
  const coldStart = coldStartReplicas(context);
  const { replicas, state } =
    coldStart === undefined
      ? applyDesired(context, policy(context))
      : { replicas: coldStart, state: context.state };
  return finishDecision({ replicas, state, bounds: context.bounds, gangSize: input.gangSize });
}

/** The view of `input` a policy gets, with every default filled in. */
export function autoscalingContext(input: AutoscalingInput): AutoscalingContext {
  return {
    deployment: input.deployment ?? "",
    application: input.application ?? "",
    config: input.config,
    currentReplicas: input.currentReplicas,
    targetReplicas: input.targetReplicas,
    totalRequests: input.totalRequests,
    queuedRequests: input.queuedRequests ?? 0,
    bounds: replicaBounds(input.config, input.capacity ?? fullCapacity),
    nowS: input.nowS,
    state: input.state ?? initialAutoscalingState,
  };
}

/**
 * The answer when nothing runs and requests wait: at least one replica at once, whatever the delays say;
 * `undefined` when that is not the case.
 */
export function coldStartReplicas(context: AutoscalingContext): number | undefined {
  if (context.currentReplicas > 0 || context.totalRequests <= 0) return undefined;
  return Math.max(Math.ceil(upscalingFactor(context.config)), context.targetReplicas);
}

/** Applies the scaling factor and the delays to what a policy wants. */
export function applyDesired(
  context: AutoscalingContext,
  desired: DesiredReplicas,
): { readonly replicas: number; readonly state: AutoscalingState } {
  checkDesired(context, desired);
  const custom = desired.state ?? {};
  const scaled = applyScalingFactor(desired.replicas, context.currentReplicas, context.config);
  // From zero the delay would only keep clients waiting.
  if (context.currentReplicas === 0 && scaled > 0) {
    return { replicas: scaled, state: { ...context.state, custom } };
  }
  const delayed = applyDelay(Math.max(0, scaled), context);
  return { replicas: delayed.replicas, state: { ...delayed.state, custom } };
}

/** Rounds to the gang multiple and moves into the bounds. */
export function finishDecision(options: {
  readonly replicas: number;
  readonly state: AutoscalingState;
  readonly bounds: ReplicaBounds;
  readonly gangSize?: number | undefined;
}): AutoscalingDecision {
  const gangSize = options.gangSize ?? 1;
  const beforeBounds =
    gangSize > 1 && options.replicas > 0
      ? Math.ceil(options.replicas / gangSize) * gangSize
      : options.replicas;
  return { replicas: clampToBounds(beforeBounds, options.bounds), beforeBounds, state: options.state };
}

/** The factor on a step up: `upscalingFactor`, or its deprecated names. */
export function upscalingFactor(config: AutoscalingConfig): number {
  return config.upscalingFactor ?? config.upscaleSmoothingFactor ?? config.smoothingFactor;
}

/** The factor on a step down: `downscalingFactor`, or its deprecated names. */
export function downscalingFactor(config: AutoscalingConfig): number {
  return config.downscalingFactor ?? config.downscaleSmoothingFactor ?? config.smoothingFactor;
}

/**
 * Moves `current` towards `desired` by the configured share of the way, rounded up. A step down that rounding
 * swallowed is still made by one. Ray's `_apply_scaling_factors`.
 */
export function applyScalingFactor(desired: number, current: number, config: AutoscalingConfig): number {
  // From zero the whole of `desired` would count as the step, and be amplified on every tick.
  if (current === 0) return Math.ceil(desired);
  const step = desired - current;
  const factor = step > 0 ? upscalingFactor(config) : downscalingFactor(config);
  const scaled = Math.ceil(current + factor * step);
  return Math.ceil(desired) < current && scaled === current ? scaled - 1 : scaled;
}

/**
 * Lets a change through only when every decision for the length of its delay pointed the same way.
 * One replica is the only way to none. Ray's `_apply_delay_logic`.
 */
export function applyDelay(
  desired: number,
  context: Pick<AutoscalingContext, "targetReplicas" | "config" | "nowS" | "state">,
): { readonly replicas: number; readonly state: AutoscalingState } {
  const { targetReplicas, config, nowS, state } = context;
  const idle = { ...state, decisionCounter: 0, decisionTimestampS: null };
  if (desired === targetReplicas) return { replicas: targetReplicas, state: idle };

  const direction = desired > targetReplicas ? 1 : -1;
  const sameRun = state.decisionCounter * direction >= 0;
  const decisionCounter = (sameRun ? state.decisionCounter : 0) + direction;
  const decisionTimestampS = (sameRun ? state.decisionTimestampS : null) ?? nowS;
  const delayS = direction > 0 ? config.upscaleDelayS : downscaleDelayS(config, targetReplicas);
  if (nowS - decisionTimestampS + elapsedToleranceS < delayS) {
    return { replicas: targetReplicas, state: { ...state, decisionCounter, decisionTimestampS } };
  }
  const replicas = direction < 0 && targetReplicas !== 1 ? Math.max(1, desired) : desired;
  return { replicas, state: idle };
}

function downscaleDelayS(config: AutoscalingConfig, targetReplicas: number): number {
  return targetReplicas === 1
    ? (config.downscaleToZeroDelayS ?? config.downscaleDelayS)
    : config.downscaleDelayS;
}

function checkDesired(context: AutoscalingContext, desired: DesiredReplicas): void {
  if (typeof desired.replicas === "number" && Number.isFinite(desired.replicas)) return;
  throw new ConfigurationError(`The autoscaling policy of deployment "${context.deployment}"`, [
    {
      path: ["replicas"],
      message: "the policy must return a finite number of replicas",
      type: "finite_number",
      expected: "a finite number",
      received: String(desired.replicas),
    },
  ]);
}
