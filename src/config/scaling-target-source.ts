import type { SchemaProblem } from "./lax-schema.ts";
import { type NamedOptions, readNamedSource } from "./named-source.ts";

/**
 * A scaling target in words that a YAML file can hold: exactly one of these. In code call the function itself.
 *
 * @example scalingTarget: { processes: { gpus: [0, 1, 2, 3] } }
 */
export interface ScalingTargetSource {
  /** Options of `vllmProcesses`, without functions. */
  readonly processes?: NamedOptions | undefined;
  /** Options of `sleepWakeTarget`. In a file also `sleep_wake`. */
  readonly sleepWake?: NamedOptions | undefined;
  /** Options of `kubernetesScaleTarget`, without `kubeConfig`. Needs the optional peer `@kubernetes/client-node`. */
  readonly kubernetes?: NamedOptions | undefined;
}

const kinds: readonly (keyof ScalingTargetSource)[] = ["processes", "sleepWake", "kubernetes"];

/** Checks that one known target is named. What its options are is checked where it is made, before anything starts. */
export function readScalingTargetSource(
  input: Readonly<Record<string, unknown>>,
): { readonly value: ScalingTargetSource } | SchemaProblem {
  return readNamedSource(input, kinds, "scaling target");
}
