import type * as z from "zod";

import {
  listOf,
  number,
  objectOf,
  oneOf,
  optional,
  reading,
  report,
  type SchemaProblem,
} from "./lax-schema.ts";
import { isPlainObject } from "./lax-schema.ts";

/** Resources of one bundle: `CPU`, `GPU`, and any custom resource by name. Names are never renamed. */
export type ResourceBundle = Readonly<Record<string, number>>;

/** How Ray spreads bundles over nodes. Meaningless for remote endpoints; kept for export. */
export type PlacementStrategy = "PACK" | "SPREAD" | "STRICT_PACK" | "STRICT_SPREAD";

/** Resources of an engine. Ray's `PlacementGroupConfig`. Give `bundlePerWorker` or `bundles`, not both. */
export interface PlacementGroupConfig {
  /** Resources of one worker, repeated `tensor_parallel_size * pipeline_parallel_size` times. */
  readonly bundlePerWorker?: ResourceBundle | undefined;
  /** Every bundle, written out; their number is not checked against the engine's size. */
  readonly bundles?: readonly ResourceBundle[] | undefined;
  /** @default "PACK" */
  readonly strategy?: PlacementStrategy | undefined;
}

const knownResource = number({ atLeast: 0 });

/** Ray's `BundleConfig`. CPU and GPU are coerced; custom resources must be numbers already. */
function bundle(): z.ZodType<ResourceBundle> {
  return reading<ResourceBundle>((input) => {
    if (!isPlainObject(input)) {
      return {
        type: "model_type",
        message: "Input should be a valid dictionary or instance of BundleConfig",
      };
    }
    const resources: Record<string, number> = {};
    const problems: SchemaProblem[] = [];
    for (const [name, amount] of Object.entries(input)) {
      const read = name === "CPU" || name === "GPU" ? readKnown(name, amount) : readCustom(name, amount);
      if (typeof read === "number") resources[name] = read;
      else problems.push(read);
    }
    return problems.length > 0 ? problems : { value: resources };
  });
}

function readKnown(name: string, amount: unknown): number | SchemaProblem {
  const parsed = knownResource.safeParse(amount);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const problem =
    issue?.code === "custom" ? (issue.params?.["problem"] as SchemaProblem | undefined) : undefined;
  return {
    type: problem?.type ?? "float_type",
    message: problem?.message ?? "Input should be a valid number",
    path: [name],
  };
}

function readCustom(name: string, amount: unknown): number | SchemaProblem {
  // Python counts true as 1, and Ray keeps it so.
  const value = typeof amount === "boolean" ? Number(amount) : amount;
  if (typeof value !== "number" || Number.isNaN(value)) {
    return {
      type: "value_error",
      message: `Resource '${name}' must be a number, got ${pythonTypeName(amount)}`,
    };
  }
  if (value < 0)
    return { type: "value_error", message: `Resource '${name}' must be non-negative, got ${value}` };
  return value;
}

/** What Python calls the type of a JSON value; Ray's messages name it. */
function pythonTypeName(value: unknown): string {
  if (value === null) return "NoneType";
  if (typeof value === "string") return "str";
  if (typeof value === "number") return "float";
  return Array.isArray(value) ? "list" : "dict";
}

/** Ray's words for a placement group without bundles. It only stops a configuration when its engine is built. */
export const noBundlesMessage =
  "placement_group_config must specify either 'bundle_per_worker' or 'bundles'.";

/** Schema of {@link PlacementGroupConfig}. */
export const placementGroupSchema = objectOf("PlacementGroupConfig", {
  bundlePerWorker: optional(bundle()),
  bundles: optional(listOf(bundle())),
  strategy: oneOf(["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]).optional(),
}).check((context) => {
  const { bundlePerWorker, bundles } = context.value;
  if (bundlePerWorker === undefined || bundles === undefined) return;
  report(context, {
    type: "value_error",
    message:
      "Cannot specify both 'bundle_per_worker' and 'bundles' in placement_group_config. Use 'bundle_per_worker' for " +
      "simple per-worker resource specification (auto-replicated by tp*pp), or 'bundles' for full control.",
  });
});

/** All bundles a configuration names, for telling which hardware it is about. */
export function namedBundles(config: PlacementGroupConfig): readonly ResourceBundle[] {
  const { bundlePerWorker, bundles } = config;
  return [...(bundlePerWorker === undefined ? [] : [bundlePerWorker]), ...(bundles ?? [])];
}
