import type { AutoscalingConfig } from "../config/autoscaling-config.ts";

/** Which way a `targetCapacity` roll-out goes. Ray's `TargetCapacityDirection`; `null` when there is none. */
export type TargetCapacityDirection = "UP" | "DOWN" | null;

/** The share of its replicas a deployment may use now. Ray's `target_capacity` and its direction. */
export interface TargetCapacity {
  /** Percent, 0 to 100; `null` means all of them. */
  readonly percent: number | null;
  readonly direction: TargetCapacityDirection;
}

/** No roll-out in progress: every replica may be used. */
export const fullCapacity: TargetCapacity = { percent: null, direction: null };

/** The fewest and the most replicas a deployment may have now, both inclusive. */
export interface ReplicaBounds {
  readonly lower: number;
  readonly upper: number;
}

/**
 * How many of `replicas` a target capacity leaves: half is rounded up, and only 0 gives 0.
 * Ray's `get_capacity_adjusted_num_replicas`.
 *
 * @param percent 0 to 100, `null` for all
 */
export function adjustToCapacity(replicas: number, percent: number | null): number {
  if (percent === null || percent === 100) return replicas;
  if (percent === 0 || replicas === 0) return 0;
  return Math.max(1, Math.round((replicas * percent) / 100));
}

/**
 * The bounds of a deployment under a target capacity. While capacity goes up, `initialReplicas` (when set) is
 * the lower bound, so that a new cluster does not start at the minimum under full traffic.
 */
export function replicaBounds(config: AutoscalingConfig, capacity: TargetCapacity): ReplicaBounds {
  const lowest =
    config.initialReplicas !== null && capacity.direction === "UP"
      ? config.initialReplicas
      : config.minReplicas;
  return {
    lower: adjustToCapacity(lowest, capacity.percent),
    upper: adjustToCapacity(config.maxReplicas, capacity.percent),
  };
}

/** `replicas` moved into the bounds; the lower bound wins if they cross, as in Ray. */
export function clampToBounds(replicas: number, bounds: ReplicaBounds): number {
  return Math.max(bounds.lower, Math.min(bounds.upper, replicas));
}

/**
 * The target a deployment starts with when it is deployed or deployed again.
 * Ray's `DeploymentAutoscalingState.register`.
 *
 * @param options.currentTarget the target so far, -1 when it never had one
 * @param options.changed whether this is the first deploy or its options changed; only then `initialReplicas` counts
 */
export function initialTarget(options: {
  readonly config: AutoscalingConfig;
  readonly capacity: TargetCapacity;
  readonly currentTarget: number;
  readonly changed: boolean;
}): number {
  const { config, capacity, currentTarget, changed } = options;
  const wanted = changed && config.initialReplicas !== null ? config.initialReplicas : currentTarget;
  return clampToBounds(wanted, replicaBounds(config, capacity));
}

/**
 * The direction of the next roll-out step, from two declarative configs.
 * Ray's `calculate_target_capacity_direction`.
 *
 * @param options.sameApplications whether both configs name the same applications
 */
export function nextCapacityDirection(options: {
  readonly previous: TargetCapacity;
  readonly percent: number | null;
  readonly sameApplications: boolean;
}): TargetCapacityDirection {
  const { previous, percent, sameApplications } = options;
  if (percent === null) return null;
  if (!sameApplications) return "UP";
  if (previous.percent === percent) return previous.direction;
  if (previous.percent === null) return "DOWN";
  return previous.percent < percent ? "UP" : "DOWN";
}
