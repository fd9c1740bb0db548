import { ConfigurationError, type ConfigIssue } from "../errors/configuration-error.ts";
import { yamlText } from "./yaml-text.ts";

/** Pods for the engines of one pool. */
export interface WorkerGroup {
  /** Lower-case letters, digits and `-`; unique in its RayService. */
  readonly groupName: string;
  /** Accelerators of one pod, 0 for none. */
  readonly accelerators: number;
  /** Kubernetes' name of the accelerator. @default "nvidia.com/gpu" */
  readonly acceleratorResource?: string | undefined;
  /** Pods at first, and at least. */
  readonly minReplicas: number;
  /** Pods at most; more than `minReplicas` lets Ray's autoscaler add some. */
  readonly maxReplicas: number;
  /** Kubernetes quantities, for example `{ cpu: "8", memory: "64Gi" }`. @default none */
  readonly resources?: Readonly<Record<string, string>> | undefined;
  /** @default the RayService's */
  readonly image?: string | undefined;
  /** @default none: any node */
  readonly nodeSelector?: Readonly<Record<string, string>> | undefined;
}

/** What a RayService needs beyond its application. */
export interface RayServiceOptions {
  /** Name of the resource: lower-case letters, digits and `-`. */
  readonly name: string;
  /** @default the namespace it is applied in */
  readonly namespace?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** @default "rayproject/ray-llm:2.58.0-py311-cu128" */
  readonly image?: string | undefined;
  /** Version of Ray in the image. @default "2.58.0" */
  readonly rayVersion?: string | undefined;
  /** Pods for the engines. @default one group for each pool, one pod for each engine, its accelerators in it */
  readonly workerGroups?: readonly WorkerGroup[] | undefined;
  /** Resources of the head pod, which runs no engine. @default { cpu: "4", memory: "16Gi" } */
  readonly headResources?: Readonly<Record<string, string>> | undefined;
  /** See `toServeConfig`. */
  readonly applicationName?: string | undefined;
  /** See `toServeConfig`. */
  readonly routePrefix?: string | null | undefined;
}

/** KubeRay's `RayService` (`ray.io/v1`). */
export interface RayService {
  readonly apiVersion: "ray.io/v1";
  readonly kind: "RayService";
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    /** The Serve config as YAML text. */
    readonly serveConfigV2: string;
    readonly rayClusterConfig: Readonly<Record<string, unknown>>;
  };
}

const defaultImage = "rayproject/ray-llm:2.58.0-py311-cu128";
const defaultRayVersion = "2.58.0";

/**
 * The manifest that runs a Serve config on Kubernetes.
 *
 * @throws ConfigurationError for names that Kubernetes would refuse, and impossible sizes
 */
export function rayServiceOf(
  serveConfig: unknown,
  pools: readonly WorkerGroup[],
  options: RayServiceOptions,
): RayService {
  const { name, namespace, labels, image = defaultImage, rayVersion = defaultRayVersion } = options;
  const { workerGroups = pools, headResources = { cpu: "4", memory: "16Gi" } } = options;
  refuseProblems([
    ...nameProblems(["name"], name),
    ...(namespace === undefined ? [] : nameProblems(["namespace"], namespace)),
    ...workerGroups.flatMap((group, index) => groupProblems(["workerGroups", index], group)),
    ...duplicateProblems(workerGroups),
  ]);
  const scales = workerGroups.some(({ minReplicas, maxReplicas }) => maxReplicas > minReplicas);
  return {
    apiVersion: "ray.io/v1",
    kind: "RayService",
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(labels === undefined ? {} : { labels }),
    },
    spec: {
      serveConfigV2: yamlText(serveConfig),
      rayClusterConfig: {
        rayVersion,
        ...(scales ? { enableInTreeAutoscaling: true } : {}),
        headGroupSpec: {
          // No engine and no replica with an accelerator belongs on the head.
          rayStartParams: { "dashboard-host": "0.0.0.0", "num-gpus": "0" },
          template: pod({
            name: "ray-head",
            image,
            ports: [
              { containerPort: 6379, name: "gcs" },
              { containerPort: 8265, name: "dashboard" },
              { containerPort: 10_001, name: "client" },
              { containerPort: 8000, name: "serve" },
            ],
            resources: { limits: headResources, requests: headResources },
          }),
        },
        workerGroupSpecs: workerGroups.map((group) => workerGroupSpec(group, image)),
      },
    },
  };
}

function workerGroupSpec(group: WorkerGroup, image: string): unknown {
  const { groupName, accelerators, acceleratorResource = "nvidia.com/gpu", minReplicas, maxReplicas } = group;
  const limits = {
    ...group.resources,
    ...(accelerators === 0 ? {} : { [acceleratorResource]: String(accelerators) }),
  };
  return {
    groupName,
    replicas: minReplicas,
    minReplicas,
    maxReplicas,
    rayStartParams: {},
    template: pod(
      { name: "ray-worker", image: group.image ?? image, resources: { limits, requests: limits } },
      group.nodeSelector,
    ),
  };
}

function pod(container: unknown, nodeSelector?: Readonly<Record<string, string>>): unknown {
  return { spec: { containers: [container], ...(nodeSelector === undefined ? {} : { nodeSelector }) } };
}

function refuseProblems(problems: readonly ConfigIssue[]): void {
  if (problems.length > 0) throw new ConfigurationError("RayService", problems);
}

function nameProblems(path: readonly (string | number)[], name: unknown): readonly ConfigIssue[] {
  if (typeof name === "string" && /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) return [];
  return [
    {
      path,
      type: "value_error",
      message: "Not a name that Kubernetes takes",
      expected: "1 to 63 lower-case letters, digits and '-', neither first nor last '-'",
      received: typeof name === "string" ? JSON.stringify(name.slice(0, 80)) : typeof name,
    },
  ];
}

function groupProblems(path: readonly (string | number)[], group: WorkerGroup): readonly ConfigIssue[] {
  const count = (
    key: "accelerators" | "minReplicas" | "maxReplicas",
    least: number,
  ): readonly ConfigIssue[] =>
    Number.isInteger(group[key]) && group[key] >= least
      ? []
      : [
          {
            path: [...path, key],
            type: "value_error",
            message: "Not a number of these",
            expected: `a whole number of ${least} or more`,
            received: String(group[key]),
          },
        ];
  return [
    ...nameProblems([...path, "groupName"], group.groupName),
    ...count("accelerators", 0),
    ...count("minReplicas", 0),
    ...count("maxReplicas", Math.max(1, group.minReplicas)),
  ];
}

function duplicateProblems(groups: readonly WorkerGroup[]): readonly ConfigIssue[] {
  const names = groups.map(({ groupName }) => groupName);
  return names.flatMap((name, index) =>
    names.indexOf(name) === index
      ? []
      : [
          {
            path: ["workerGroups", index, "groupName"],
            type: "value_error",
            message: `Two worker groups are named "${name}"`,
          },
        ],
  );
}
