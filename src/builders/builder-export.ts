import { parseDeploymentOptions } from "../config/deployment-options.ts";
import type { LLMConfig } from "../config/llm-config.ts";
import type { RayJson } from "../config/ray-export.ts";
import type { Application } from "../serve/application.ts";
import type { WorkerGroup } from "../serve/ray-service.ts";
import type { Exportable } from "../serve/serve-export.ts";

/** One pool of engines of an application: its server, its configuration, and its name in a cluster. */
export interface ExportedPool {
  readonly name: string;
  readonly server: Application;
  readonly config: LLMConfig;
  /** @default none: the model is not split */
  readonly role?: "prefill" | "decode" | undefined;
}

/**
 * What Ray would build an application from.
 *
 * @param builder Ray's name of it
 * @param args its arguments, in Ray's spelling
 */
export function builderExport(
  builder: string,
  args: () => RayJson,
  pools: readonly ExportedPool[],
): Exportable {
  return {
    application: () => ({
      name: "default",
      route_prefix: "/",
      import_path: `ray.serve.llm:${builder}`,
      args: args(),
    }),
    workerGroups: pools.map(workerGroup),
    engines: pools.map(({ server, config, role }) => ({
      deployment: server.name,
      role,
      config,
      replicas: sizeOf(server).least,
    })),
  };
}

/** One pod for each engine, with all of its accelerators. */
function workerGroup({ name, server, config }: ExportedPool): WorkerGroup {
  const { least, most } = sizeOf(server);
  const { kind } = config.acceleratorConfig;
  const resource = kind === "tpu" ? "TPU" : "GPU";
  const accelerators = config
    .getEngineConfig()
    .placementBundles.reduce((sum, bundle) => sum + (bundle[resource] ?? 0), 0);
  return {
    groupName: groupName(name),
    // Parts of a GPU are shared within a pod.
    accelerators: Math.ceil(accelerators),
    ...(kind === "tpu" ? { acceleratorResource: "google.com/tpu" } : {}),
    minReplicas: least,
    maxReplicas: most,
  };
}

function sizeOf(server: Application): { readonly least: number; readonly most: number } {
  const { numReplicas, autoscalingConfig } = parseDeploymentOptions(server.node.options).config;
  const fixed = numReplicas ?? 1;
  return { least: autoscalingConfig?.minReplicas ?? fixed, most: autoscalingConfig?.maxReplicas ?? fixed };
}

/** A name that Kubernetes takes, from a model id. */
function groupName(name: string): string {
  const plain = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, 50)
    .replaceAll(/^-+|-+$/g, "");
  return plain === "" ? "engines" : plain;
}
