import { LLMConfig } from "../../../src/config/llm-config.ts";
import type { LLMConfigInit } from "../../../src/config/llm-config-init.ts";
import { snakeCased } from "../../../src/config/casing.ts";
import {
  fractionalGpu,
  mergeReplicaBundle,
  rankBundleIndices,
  sortBundleIndices,
} from "../../../src/config/placement-bundles.ts";
import { placementGroupSchema, type ResourceBundle } from "../../../src/config/placement-group-config.ts";
import { serverDeploymentOptions } from "../../../src/config/server-options.ts";
import { accepted, attempt, type Outcome, type RecordedError, refused, same, sameError } from "../compare.ts";
import { checkDeviation, type Deviation, forDefect } from "../deviations.ts";
import type { GoldenCase } from "../golden-case.ts";

type Input =
  | { readonly llm_config: LLMConfigInit }
  | { readonly merge: readonly [readonly ResourceBundle[], ResourceBundle] }
  | {
      readonly dp_bundle_indices: {
        readonly dp_rank: number;
        readonly bundles_per_replica: number;
        readonly sorted_indices: readonly number[];
      };
    }
  | {
      readonly sort_bundle_indices: {
        readonly bundles_to_node_id: Readonly<Record<string, string>>;
        readonly driver_node_id: string;
      };
    };

type Subject = Outcome<Readonly<Record<string, unknown>>>;

const deviations: readonly Deviation<Subject>[] = [
  forDefect(/zero devices/, "Sizes are positive.", (subject) =>
    refused(subject, /should be a positive integer/),
  ),
  forDefect(
    /numeric string is repeated|'2' \* 2|raw TypeError from range/,
    "A number is a number.",
    (subject) => {
      const { num_devices: devices, placement_bundles: bundles } = accepted(subject);
      same((bundles as readonly unknown[]).length, devices, "one bundle for each device");
    },
  ),
  forDefect(
    /raw Python \w+ escapes/,
    "Every refusal is a ConfigurationError that says what is wrong.",
    (subject) => refused(subject, /is not a TPU topology|needs bundles up to number/),
  ),
  forDefect(/number of bundles is not compared/, "notes() says so.", (_subject, { input }) => {
    const notes = new LLMConfig((input as { llm_config: LLMConfigInit }).llm_config).notes();
    same(
      notes.some((note) =>
        /placement_group_config has \d+ bundles?, but the engine has \d+ devices/.test(note),
      ),
      true,
    );
  }),
];

/** Checks one case of `placement.jsonl`. */
export function check(kase: GoldenCase): void {
  const subject = attempt(() => run(kase.input as Input));
  if (checkDeviation(deviations, kase, subject)) return;
  const { ok, ...expected } = kase.expect as { readonly ok: boolean };
  if (ok) same(accepted(subject), withNumbers(expected));
  else sameError(subject, kase.expect as RecordedError);
}

/** Amounts that were given as true: Python keeps them so and counts them as 1, here they are 1. */
function withNumbers(expected: Readonly<Record<string, unknown>>): unknown {
  const amounts = (value: unknown): unknown => {
    if (value === true) return 1;
    if (Array.isArray(value)) return value.map(amounts);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, amounts(each)]));
  };
  const isBundles = (key: string): boolean => key.includes("bundles") || key === "placement_group_config";
  return Object.fromEntries(
    Object.entries(expected).map(([key, value]) => [key, isBundles(key) ? amounts(value) : value]),
  );
}

function run(input: Input): Readonly<Record<string, unknown>> {
  if ("merge" in input) return { bundles: mergeReplicaBundle(input.merge[0], input.merge[1]) };
  if ("dp_bundle_indices" in input) {
    const {
      dp_rank: rank,
      bundles_per_replica: perReplica,
      sorted_indices: sorted,
    } = input.dp_bundle_indices;
    return { VLLM_RAY_BUNDLE_INDICES: rankBundleIndices(rank, perReplica, sorted).join(",") };
  }
  if ("sort_bundle_indices" in input) {
    const { bundles_to_node_id: nodes, driver_node_id: driver } = input.sort_bundle_indices;
    const nodeOfBundle = new Map(Object.entries(nodes).map(([index, node]) => [Number(index), node]));
    return { indices: sortBundleIndices(nodeOfBundle, driver) };
  }
  const config = new LLMConfig(input.llm_config);
  const engine = config.getEngineConfig();
  const bundles = engine.placementBundles;
  const options = serverDeploymentOptions(config);
  return {
    accelerator_kind: engine.accelerator.kind,
    num_devices: engine.numDevices,
    placement_group_config:
      engine.placementGroupConfig === undefined ? null : givenPlacement(config, input.llm_config),
    placement_strategy: engine.placementStrategy,
    requires_deferred_placement_group: engine.requiresDeferredPlacementGroup,
    placement_bundles: bundles,
    deployment_placement_group_bundles: options.placementGroupBundles ?? null,
    deployment_placement_group_strategy: options.placementGroupStrategy ?? null,
    VLLM_RAY_PER_WORKER_GPUS: fractionalGpu(bundles) ?? null,
  };
}

/** The parsed placement group, with null where null was given: Ray shows what was set, and only that. */
function givenPlacement(config: LLMConfig, init: unknown): unknown {
  const { placement_group_config: given } = init as {
    placement_group_config: Readonly<Record<string, unknown>>;
  };
  const parsed = snakeCased(placementGroupSchema, config.placementGroupConfig) as Readonly<
    Record<string, unknown>
  >;
  return Object.fromEntries(Object.keys(given).map((key) => [key, parsed[key] ?? null]));
}
