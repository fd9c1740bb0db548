import { ConfigurationError } from "../errors/configuration-error.ts";
import { type AcceleratorConfig, configurationProblem } from "./accelerators.ts";
import type { PlacementGroupConfig, ResourceBundle } from "./placement-group-config.ts";

/** What the bundles of an engine follow from. */
export interface PlacementInputs {
  /** Accelerators of the engine: `tensor_parallel_size * pipeline_parallel_size`. */
  readonly numDevices: number;
  readonly accelerator: AcceleratorConfig;
  readonly acceleratorType: string | undefined;
  readonly placementGroup: PlacementGroupConfig | undefined;
}

/** Share of the `accelerator_type:X` resource that pins a bundle to nodes with that accelerator. Ray's value. */
const acceleratorHint = 0.001;
const hostChips = 4;
/** TPU generations with hosts of up to eight chips. */
const wideHosts = new Set(["v5litepod", "v6e"]);

/**
 * The bundles of one engine. Ray's `VLLMEngineConfig.placement_bundles`.
 *
 * @throws {ConfigurationError} when a TPU topology can't be read or does not go with the number of devices
 */
export function placementBundles(inputs: PlacementInputs): readonly ResourceBundle[] {
  const { numDevices, placementGroup } = inputs;
  if (placementGroup?.bundlePerWorker !== undefined) {
    return repeat(withHint(placementGroup.bundlePerWorker, inputs), numDevices);
  }
  if (placementGroup?.bundles !== undefined)
    return placementGroup.bundles.map((bundle) => withHint(bundle, inputs));
  const { accelerator } = inputs;
  if (accelerator.kind === "cpu") return repeat({ CPU: 1 }, numDevices);
  if (accelerator.kind === "gpu") return repeat(withHint({ GPU: 1 }, inputs), numDevices);
  if (!hasTopology(accelerator)) return repeat(withHint({ TPU: 1 }, inputs), numDevices);
  return tpuHostBundles(accelerator.topology, inputs);
}

/** True when Ray leaves the placement group to the replica: a TPU slice. */
export function defersPlacementGroup(accelerator: AcceleratorConfig): boolean {
  return hasTopology(accelerator);
}

function hasTopology(
  accelerator: AcceleratorConfig,
): accelerator is AcceleratorConfig & { readonly topology: string } {
  return accelerator.kind === "tpu" && accelerator.topology !== undefined && accelerator.topology !== "";
}

function tpuHostBundles(topology: string, inputs: PlacementInputs): readonly ResourceBundle[] {
  const { numDevices, acceleratorType } = inputs;
  const perHost = chipsPerHost(topology, acceleratorType ?? "");
  if (numDevices > perHost && numDevices % perHost !== 0) {
    throw configurationProblem(
      "engine_kwargs",
      ["engine_kwargs"],
      `num_devices (${numDevices}) must be a multiple of chips_per_host (${perHost}) for TPU topologies.`,
    );
  }
  const bundle = withHint({ TPU: Math.min(numDevices, perHost) }, inputs);
  return repeat(bundle, Math.max(1, Math.floor(numDevices / perHost)));
}

function chipsPerHost(topology: string, acceleratorType: string): number {
  if (!/^\d+(x\d+)*$/i.test(topology.trim())) {
    throw new ConfigurationError("LLMConfig", [
      {
        path: ["accelerator_config", "topology"],
        type: "value_error",
        message: `"${topology}" is not a TPU topology`,
        expected: 'chips along each axis, like "2x4"',
      },
    ]);
  }
  const chips = topology
    .trim()
    .toLowerCase()
    .split("x")
    .reduce((product, axis) => product * Number(axis), 1);
  const generation = acceleratorType.toLowerCase().replace("tpu-", "");
  return chips <= 8 && wideHosts.has(generation) ? chips : hostChips;
}

function withHint(bundle: ResourceBundle, { acceleratorType }: PlacementInputs): ResourceBundle {
  return acceleratorType === undefined
    ? bundle
    : {
        ...bundle,
        [`accelerator_type:${acceleratorType}`]:
          bundle[`accelerator_type:${acceleratorType}`] ?? acceleratorHint,
      };
}

function repeat(bundle: ResourceBundle, times: number): readonly ResourceBundle[] {
  return Array.from({ length: times }, () => ({ ...bundle }));
}

/** What one replica actor of Ray needs for itself: options of `ray_actor_options`. */
export interface ReplicaActorResources {
  /** @default 1 */
  readonly numCpus?: number | null | undefined;
  /** @default 0 */
  readonly numGpus?: number | null | undefined;
  readonly resources?: ResourceBundle | null | undefined;
  /** Bytes. */
  readonly memory?: number | null | undefined;
}

/** The bundle of the replica actor itself. */
export function replicaBundle(actor: ReplicaActorResources): ResourceBundle {
  const { numCpus, numGpus, resources, memory } = actor;
  return {
    CPU: amountOf(numCpus) ?? 1,
    GPU: amountOf(numGpus) ?? 0,
    ...resources,
    ...(typeof memory === "number" ? { memory } : {}),
  };
}

/** An amount as it was given, which may be a numeric string; what is no number is refused when options are read. */
function amountOf(given: unknown): number | undefined {
  if (typeof given === "number") return given;
  const read = typeof given === "string" && given.trim() !== "" ? Number(given) : Number.NaN;
  return Number.isNaN(read) ? undefined : read;
}

/** The engine's bundles with the replica's own added into the first. Ray's `merge_replica_actor_and_child_actor_bundles`. */
export function mergeReplicaBundle(
  bundles: readonly ResourceBundle[],
  replica: ResourceBundle,
): readonly ResourceBundle[] {
  const [first, ...rest] = bundles;
  if (first === undefined) return [{ ...replica }];
  const merged: Record<string, number> = { ...first };
  for (const [name, amount] of Object.entries(replica)) merged[name] = (merged[name] ?? 0) + amount;
  return [merged, ...rest];
}

/** The GPU share of each worker, for vLLM's `VLLM_RAY_PER_WORKER_GPUS`; undefined when GPUs are whole. */
export function fractionalGpu(bundles: readonly ResourceBundle[]): number | undefined {
  return bundles.map((bundle) => bundle["GPU"] ?? 0).find((share) => share > 0 && share < 1);
}

/**
 * The bundles of a gang in rank order: those of one node together, the driver's node first. Ray's
 * `sort_bundle_indices_by_node`.
 *
 * @param nodeOfBundle node id of each bundle index
 */
export function sortBundleIndices(
  nodeOfBundle: ReadonlyMap<number, string>,
  driverNode: string,
): readonly number[] {
  return [...nodeOfBundle]
    .sort(
      ([leftIndex, left], [rightIndex, right]) =>
        Number(right === driverNode) - Number(left === driverNode) ||
        (left < right ? -1 : left > right ? 1 : leftIndex - rightIndex),
    )
    .map(([index]) => index);
}

/**
 * The bundles of one data-parallel rank, for vLLM's `VLLM_RAY_BUNDLE_INDICES`.
 *
 * @throws {ConfigurationError} when the gang has too few bundles for the rank
 */
export function rankBundleIndices(
  rank: number,
  bundlesPerReplica: number,
  sortedIndices: readonly number[],
): readonly number[] {
  const end = (rank + 1) * bundlesPerReplica;
  if (end > sortedIndices.length) {
    throw configurationProblem(
      "placement group",
      ["bundles"],
      `Rank ${rank} needs bundles up to number ${end}, but the group has ${sortedIndices.length}`,
    );
  }
  return sortedIndices.slice(rank * bundlesPerReplica, end);
}
