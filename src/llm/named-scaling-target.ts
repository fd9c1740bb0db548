import type { ScalingTarget } from "../config/scaling-target.ts";
import type { ScalingTargetSource } from "../config/scaling-target-source.ts";
import { kubernetesScaleTarget, type KubernetesScaleOptions } from "../kubernetes/kubernetes-scale-target.ts";
import { sleepWakeTarget, type SleepWakeOptions } from "../scaling-targets/sleep-wake-target.ts";
import { vllmProcesses } from "../scaling-targets/vllm-processes.ts";

type MakeTarget = (options: Readonly<Record<string, unknown>>) => ScalingTarget;

/** Every target that a configuration may name. They check their options themselves. */
const targets: Readonly<Record<keyof ScalingTargetSource, MakeTarget>> = {
  processes: vllmProcesses,
  sleepWake: (options) => sleepWakeTarget(options as unknown as SleepWakeOptions),
  kubernetes: (options) => kubernetesScaleTarget(options as unknown as KubernetesScaleOptions),
};

/**
 * The `scalingTarget` of a configuration, whichever way it was given. One that is named is made anew for every call:
 * a target works for one deployment.
 *
 * @throws ConfigurationError when the options of a named target are not usable
 */
export function namedScalingTarget(target: ScalingTarget | ScalingTargetSource): ScalingTarget {
  if ("setReplicas" in target) return target;
  const [kind, options] = Object.entries(target)[0] as [
    keyof ScalingTargetSource,
    Readonly<Record<string, unknown>>,
  ];
  return targets[kind](options);
}
