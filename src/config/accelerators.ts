import { ConfigurationError } from "../errors/configuration-error.ts";
import { suggestion } from "./nearest-name.ts";

/** What kind of hardware an engine runs on. */
export type AcceleratorKind = "cpu" | "gpu" | "tpu";

/** Ray's `CPUConfig`, `GPUConfig` and `TPUConfig`. */
export type AcceleratorConfig =
  | { readonly kind: "cpu" }
  | { readonly kind: "gpu" }
  | {
      readonly kind: "tpu";
      /** Slice topology, for example `"2x4"`. */
      readonly topology?: string | undefined;
    };

/** Every accelerator type Ray 2.58 knows (`ray.util.accelerators`), exactly as spelled there. */
export const acceleratorTypes: readonly string[] = (
  "V100 P100 T4 P4 K80 A10G L4 L40S A100 H100 H200 H20 B200 B300 GB200 GB300 RTX-PRO-6000 Intel-GPU-Max-1550 " +
  "Intel-GPU-Max-1100 Intel-GAUDI AMD-Instinct-MI100 AMD-Instinct-MI250X AMD-Instinct-MI250X-MI250 " +
  "AMD-Instinct-MI210 AMD-Instinct-MI300A AMD-Instinct-MI300X-OAM AMD-Instinct-MI300X-HF AMD-Instinct-MI308X " +
  "AMD-Instinct-MI325X-OAM AMD-Instinct-MI350X-OAM AMD-Instinct-MI355X-OAM AMD-Radeon-R9-200-HD-7900 " +
  "AMD-Radeon-HD-7900 aws-neuron-core TPU-V2 TPU-V3 TPU-V4 TPU-V5P TPU-V5LITEPOD TPU-V6E TPU-V7X Ascend910B " +
  "Ascend910B4 MXC500 MXC550 FURIOSA_RNGD M1 M1-Pro M1-Max M1-Ultra M2 M2-Pro M2-Max M2-Ultra M3 M3-Pro M3-Max " +
  "Apple-Silicon A100-40G A100-80G"
).split(" ");

const known = new Set(acceleratorTypes);

/** Gives the type as Ray stores it (`A10` becomes `A10G`), or Ray's words for an unknown one. */
export function readAcceleratorType(
  name: string,
): { readonly value: string } | { readonly type: string; readonly message: string } {
  if (name === "A10") return { value: "A10G" };
  if (known.has(name)) return { value: name };
  return {
    type: "value_error",
    message: `Unsupported accelerator type: ${name}${suggestion(name, known)}`,
  };
}

/** What {@link resolveAccelerator} looks at. */
export interface AcceleratorInputs {
  readonly acceleratorType: string | undefined;
  readonly acceleratorConfig: AcceleratorConfig | undefined;
  /** All bundles of the placement group, or undefined when no placement group was configured. */
  readonly bundles: readonly Readonly<Record<string, number>>[] | undefined;
}

/** The accelerator of an engine, after Ray's `_resolve_accelerator_config`: first match wins. */
export function resolveAccelerator(inputs: AcceleratorInputs): AcceleratorConfig {
  const { acceleratorType, acceleratorConfig, bundles } = inputs;
  if (acceleratorConfig !== undefined) return acceleratorConfig;
  if (bundles !== undefined) return { kind: bundlesKind(bundles) };
  return { kind: acceleratorType === undefined ? "gpu" : typeKind(acceleratorType) };
}

/** The hardware that bundles ask for. */
export function bundlesKind(bundles: readonly Readonly<Record<string, number>>[]): AcceleratorKind {
  if (bundles.some((bundle) => (bundle["TPU"] ?? 0) > 0)) return "tpu";
  return bundles.some((bundle) => (bundle["GPU"] ?? 0) > 0) ? "gpu" : "cpu";
}

function typeKind(acceleratorType: string): AcceleratorKind {
  return acceleratorType.startsWith("TPU-") ? "tpu" : "gpu";
}

/**
 * Why an accelerator type does not go with the resolved accelerator, in Ray's words, or undefined when it does.
 */
export function acceleratorConflict(
  acceleratorType: string | undefined,
  accelerator: AcceleratorConfig,
): string | undefined {
  if (acceleratorType === undefined) {
    return accelerator.kind === "tpu" && accelerator.topology !== undefined
      ? "accelerator_type must be provided when specifying a TPU topology for TPU slice provisioning."
      : undefined;
  }
  if (accelerator.kind === "cpu") {
    return (
      `accelerator_type='${acceleratorType}' cannot be used with CPU-only configurations. ` +
      "Either remove accelerator_type, or provide an accelerator_config."
    );
  }
  const needed = typeKind(acceleratorType);
  if (needed === accelerator.kind) return undefined;
  return (
    `Hardware mismatch: accelerator_type='${acceleratorType}' requires a ${needed.toUpperCase()} backend, but the ` +
    `configuration resolved to a ${accelerator.kind.toUpperCase()} backend. ` +
    "Please ensure your bundles and accelerator_type align."
  );
}

/** The error for a value that only shows to be wrong when an engine's options are computed. */
export function configurationProblem(
  subject: string,
  path: readonly (string | number)[],
  message: string,
): ConfigurationError {
  return new ConfigurationError(subject, [{ path, type: "value_error", message }]);
}
