import * as z from "zod";

import { ConfigurationError, type ConfigIssue } from "../errors/configuration-error.ts";
import { toSnakeCase } from "./casing.ts";
import { integer, listOf, mapOf, nullable, number, opaqueMap, oneOf, report, text } from "./lax-schema.ts";
import { runtimeEnvSchema, type RuntimeEnv } from "./runtime-env.ts";

/**
 * What a replica's actor asks of a Ray cluster. Remote engines have their own machines: it is checked as Ray checks
 * it and kept for export.
 */
export interface RayActorOptions {
  readonly acceleratorType?: string | null | undefined;
  /** Bytes, at least 0. */
  readonly memory?: number | null | undefined;
  /** At least 0. Default 1. */
  readonly numCpus?: number | null | undefined;
  /** At least 0. */
  readonly numGpus?: number | null | undefined;
  /** Amounts by the name of a custom resource. */
  readonly resources?: Readonly<Record<string, unknown>> | null | undefined;
  readonly runtimeEnv?: RuntimeEnv | null | undefined;
  readonly labelSelector?: Readonly<Record<string, unknown>> | null | undefined;
  readonly fallbackStrategy?: readonly Readonly<Record<string, unknown>>[] | null | undefined;
}

/** Where Ray puts a replica, as a user gives it. Ray's `ReplicaConfig`; kept for export. */
export interface ReplicaOptions {
  readonly rayActorOptions?: RayActorOptions | null | undefined;
  /** Resources that are reserved together; the actor must fit into the first. */
  readonly placementGroupBundles?: readonly Readonly<Record<string, number>>[] | null | undefined;
  /** Needs bundles. Default `PACK`. */
  readonly placementGroupStrategy?: PlacementGroupStrategy | null | undefined;
  /** One for all bundles, or one each. Needs bundles. */
  readonly placementGroupBundleLabelSelector?: readonly Readonly<Record<string, string>>[] | null | undefined;
  /** 1 to 100; not together with bundles. */
  readonly maxReplicasPerNode?: number | null | undefined;
}

/** How bundles are spread over nodes. */
export type PlacementGroupStrategy = "PACK" | "SPREAD" | "STRICT_PACK" | "STRICT_SPREAD";

/** The same with every default filled in. */
export interface ReplicaConfig {
  readonly rayActorOptions: RayActorOptions;
  readonly placementGroupBundles: readonly Readonly<Record<string, number>>[] | null;
  readonly placementGroupStrategy: PlacementGroupStrategy | null;
  readonly placementGroupBundleLabelSelector: readonly Readonly<Record<string, string>>[] | null;
  readonly maxReplicasPerNode: number | null;
}

const notNegative = { atLeast: 0 } as const;

/** The fields of `ray_actor_options` that Serve allows. */
export const rayActorShape = {
  acceleratorType: nullable(text()),
  memory: nullable(number(notNegative)),
  numCpus: nullable(number(notNegative)),
  numGpus: nullable(number(notNegative)),
  resources: nullable(opaqueMap()),
  runtimeEnv: runtimeEnvSchema.nullable().optional(),
  labelSelector: nullable(opaqueMap()),
  fallbackStrategy: nullable(listOf(opaqueMap())),
};

const allowedActorOptions = Object.keys(rayActorShape)
  .map((name) => `'${toSnakeCase(name)}'`)
  .sort()
  .join(", ");

const rayActorSchema = z.looseObject(rayActorShape).check((context) => {
  for (const key of Object.keys(context.value)) {
    if (key in rayActorShape) continue;
    report(context, {
      type: "value_error",
      message: `Specifying '${key}' in ray_actor_options is not allowed. Allowed options: {${allowedActorOptions}}`,
      path: [key],
    });
  }
});

/** The fields of Ray's `ReplicaConfig` among a deployment's options. */
export const replicaShape = {
  rayActorOptions: nullable(rayActorSchema),
  placementGroupBundles: nullable(listOf(mapOf(number(notNegative)))),
  placementGroupStrategy: nullable(oneOf(["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"])),
  placementGroupBundleLabelSelector: nullable(listOf(mapOf(text()))),
  maxReplicasPerNode: nullable(integer()),
};

/** What is wrong between the fields of Ray's `ReplicaConfig`, in Ray's words. */
export function replicaProblems(options: ReplicaOptions): readonly string[] {
  const { maxReplicasPerNode, placementGroupBundles: bundles, placementGroupStrategy } = options;
  const selectors = options.placementGroupBundleLabelSelector ?? undefined;
  const problems: string[] = [];
  if (typeof placementGroupStrategy === "string" && !bundles) {
    problems.push(needsBundles("placement_group_strategy"));
  }
  if (selectors !== undefined && !bundles) {
    problems.push(needsBundles("placement_group_bundle_label_selector"));
  }
  if (bundles) problems.push(...bundleProblems(bundles, selectors, options.rayActorOptions ?? {}));
  if (typeof maxReplicasPerNode === "number" && (maxReplicasPerNode < 1 || maxReplicasPerNode > 100)) {
    problems.push(
      `Invalid max_replicas_per_node ${maxReplicasPerNode}. ` +
        "Valid values are None or an integer in the range of [1, 100].",
    );
  }
  if (typeof maxReplicasPerNode === "number" && bundles) problems.push(perNodeWithBundlesMessage);
  return problems;
}

/** Ray's words for `max_replicas_per_node` beside bundles. */
export const perNodeWithBundlesMessage =
  "Setting max_replicas_per_node is not allowed when placement_group_bundles is provided.";

function needsBundles(option: string): string {
  return `If \`${option}\` is provided, \`placement_group_bundles\` must also be provided.`;
}

function bundleProblems(
  bundles: readonly Readonly<Record<string, number>>[],
  selectors: readonly unknown[] | undefined,
  actor: RayActorOptions,
): readonly string[] {
  const first = bundles[0];
  if (first === undefined) {
    return [
      "Bundles must be a non-empty list of resource dictionaries. " +
        'For example: `[{"CPU": 1.0}, {"GPU": 1.0}]`. Got [] instead.',
    ];
  }
  const problems: string[] = [];
  if (bundles.some((bundle) => Object.values(bundle).every((amount) => amount === 0))) {
    problems.push("Bundles cannot be an empty dictionary or resources with only 0 values.");
  }
  if (selectors !== undefined && selectors.length !== 1 && selectors.length !== bundles.length) {
    problems.push(
      "Invalid bundle label selector. The length of `bundle_label_selector` should equal the length of `bundles`.",
    );
  }
  const fits = (needed: number, resource: string, words: string) => {
    const available = first[resource] ?? 0;
    if (available >= needed) return;
    problems.push(
      "When using `placement_group_bundles`, the replica actor will be placed in the first bundle, so the " +
        "resource requirements for the actor must be a subset of the first bundle. " +
        `${words} for the actor is ${needed}, but the bundle only has ${available} \`${resource}\` specified.`,
    );
  };
  fits(actor.numCpus ?? 1, "CPU", "`num_cpus`");
  fits(actor.numGpus ?? 0, "GPU", "`num_gpus`");
  for (const [resource, needed] of Object.entries(actor.resources ?? {})) {
    if (typeof needed === "number") fits(needed, resource, `\`${resource}\` requirement`);
  }
  return problems;
}

/** Fills in Ray's defaults: one CPU, and one label selector for all bundles. `options` must have been parsed. */
export function resolveReplicaConfig(options: ReplicaOptions): ReplicaConfig {
  const actor = options.rayActorOptions ?? {};
  const bundles = options.placementGroupBundles ?? null;
  const selectors = options.placementGroupBundleLabelSelector ?? null;
  const [only] = selectors ?? [];
  return {
    rayActorOptions: { ...actor, numCpus: actor.numCpus ?? 1 },
    placementGroupBundles: bundles,
    placementGroupStrategy: options.placementGroupStrategy ?? null,
    placementGroupBundleLabelSelector:
      bundles !== null && selectors?.length === 1 && only !== undefined ? bundles.map(() => only) : selectors,
    maxReplicasPerNode: options.maxReplicasPerNode ?? null,
  };
}

/**
 * Throws when there are problems.
 *
 * @throws ConfigurationError with one issue a message
 */
export function refuseProblems(
  subject: string,
  messages: readonly string[],
  path: readonly (string | number)[] = [],
): void {
  if (messages.length === 0) return;
  throw new ConfigurationError(
    subject,
    messages.map((message): ConfigIssue => ({ path, message, type: "value_error" })),
  );
}
