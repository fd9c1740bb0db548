import type { KubeConfig } from "@kubernetes/client-node";

import type { Endpoint } from "../config/endpoint.ts";
import { anything, boolean, objectOf, oneOf, optional, text, withDefault } from "../config/lax-schema.ts";
import { parseConfig } from "../config/parse-config.ts";
import type { ScalingContext, ScalingTarget } from "../config/scaling-target.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { pause } from "../internal/pause.ts";
import { connectKubernetes, type KubernetesApi, KubernetesApiError } from "./kubernetes-api.ts";
import { type Pod, removalOrder, type ScalableKind } from "./removal-order.ts";

/** Options of {@link kubernetesScaleTarget}. */
export interface KubernetesScaleOptions {
  /** What has a `scale` subresource here. One replica of a LeaderWorkerSet is one group of pods, one engine. */
  readonly kind: ScalableKind;
  /** Name of the object. */
  readonly name: string;
  /** @default that of the kubeconfig's context, or of the pod this runs in */
  readonly namespace?: string | undefined;
  /**
   * Drains the pods that will go before the number is lowered. Needs `list` on pods, and for a Deployment `patch`:
   * they are marked with `controller.kubernetes.io/pod-deletion-cost`. @default true
   */
  readonly drainFirst?: boolean | undefined;
  /** @default as `kubectl` finds it, or the cluster this pod runs in */
  readonly kubeConfig?: KubeConfig | undefined;
}

const collections: Readonly<Record<ScalableKind, string>> = {
  Deployment: "apps/v1/namespaces/{}/deployments",
  StatefulSet: "apps/v1/namespaces/{}/statefulsets",
  LeaderWorkerSet: "leaderworkerset.x-k8s.io/v1/namespaces/{}/leaderworkersets",
};

const schema = objectOf("kubernetesScaleTarget", {
  kind: oneOf(["Deployment", "StatefulSet", "LeaderWorkerSet"]),
  name: text({ minLength: 1 }),
  namespace: optional(text({ minLength: 1 })),
  drainFirst: withDefault(boolean(), true),
  kubeConfig: optional(anything()),
});

interface Scale {
  readonly spec?: { readonly replicas?: number };
  readonly status?: { readonly selector?: string };
}

const deletionCost = "controller.kubernetes.io/pod-deletion-cost";
const firstPauseMs = 1_000;
const longestPauseMs = 30_000;

/**
 * Scales a Deployment, StatefulSet or LeaderWorkerSet through its `scale` subresource. Where its pods are is for
 * `endpoints` to say, for example with `kubernetesDiscovery`. Needs the optional peer `@kubernetes/client-node`, and
 * `get` and `patch` on the kind's `scale`.
 *
 * @example scalingTarget: kubernetesScaleTarget({ kind: "StatefulSet", name: "vllm-decode" })
 * @throws ConfigurationError when an option is not usable
 */
export function kubernetesScaleTarget(options: KubernetesScaleOptions): ScalingTarget {
  const parsed = parseConfig(schema, options, "kubernetesScaleTarget");
  return new KubernetesScaleTarget({ ...parsed, kubeConfig: options.kubeConfig });
}

type Options = Omit<KubernetesScaleOptions, "drainFirst"> & { readonly drainFirst: boolean };

class KubernetesScaleTarget implements ScalingTarget {
  readonly #options: Options;
  readonly #stop = new AbortController();
  #context: ScalingContext | undefined;
  #api: KubernetesApi | undefined;
  /** Pods that drain, or have, and are still there. */
  #leaving: readonly Pod[] = [];
  #shrinking: { readonly replicas: number; readonly done: Promise<void> } | undefined;
  #mayNotDrain = false;

  constructor(options: Options) {
    this.#options = options;
  }

  async start(context: ScalingContext): Promise<void> {
    this.#context = context;
    this.#api ??= await connectKubernetes(this.#options.kubeConfig, context.clock);
    // Shows at the start that there is such an object, and that we may.
    await this.#scale(this.#stop.signal).catch((cause: unknown) => {
      const { kind, name } = this.#options;
      throw new ConfigurationError(
        `Deployment "${context.deployment}"`,
        [
          {
            path: ["scalingTarget"],
            type: "value_error",
            message: `${kind} "${name}" can't be read: ${messageOf(cause)}`,
          },
        ],
        { cause },
      );
    });
  }

  async getReplicas(signal: AbortSignal): Promise<number | undefined> {
    return (await this.#scale(signal)).spec?.replicas ?? 0;
  }

  /** Resolves when the API server has taken note; when fewer are wanted, as soon as those that go begin to drain. */
  async setReplicas(replicas: number, signal: AbortSignal): Promise<void> {
    const scale = await this.#scale(signal);
    const now = scale.spec?.replicas ?? 0;
    const going =
      replicas < now && this.#options.drainFirst ? await this.#pods(scale, now - replicas, signal) : [];
    this.#readmitBut(going);
    this.#shrinking = undefined;
    if (going.length === 0) {
      if (replicas !== now) await this.#setScale(replicas, signal);
      return;
    }
    const shrinking = { replicas, done: Promise.resolve() };
    this.#shrinking = shrinking;
    shrinking.done = this.#shrink(shrinking, going);
  }

  /** The pods are not ours to stop. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#shrinking?.done;
  }

  /** Drains, then lowers the number, unless another one is wanted meanwhile. Tries until it works. */
  async #shrink(own: { readonly replicas: number }, going: readonly Pod[]): Promise<void> {
    const { deployment, clock, drain, warn } = this.#context!;
    const { signal } = this.#stop;
    await drain(matching(going));
    for (let failures = 0; this.#shrinking === own && !signal.aborted;) {
      try {
        if (this.#options.kind === "Deployment") await this.#markForDeletion(going, signal);
        await this.#setScale(own.replicas, signal);
        // Gone for the list of endpoints as soon as they terminate.
        this.#leaving = [];
        return;
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        if (failures === 1) {
          warn(
            `The scaling target of "${deployment}" did not take ${own.replicas} replicas: ${messageOf(error)}`,
          );
        }
        await pause(clock, Math.min(firstPauseMs * 2 ** (failures - 1), longestPauseMs), signal);
      }
    }
  }

  #readmitBut(going: readonly Pod[]): void {
    const names = new Set(going.map(({ metadata }) => metadata.name));
    const staying = this.#leaving.filter(({ metadata }) => !names.has(metadata.name));
    if (staying.length > 0) this.#context!.readmit(matching(staying));
    this.#leaving = going;
  }

  /** The pods that will go when so many do; none when we may not see them. */
  async #pods(scale: Scale, count: number, signal: AbortSignal): Promise<readonly Pod[]> {
    const selector = scale.status?.selector;
    if (this.#mayNotDrain || selector === undefined || selector === "") return [];
    const path = `/api/v1/namespaces/${this.#namespace}/pods?labelSelector=${encodeURIComponent(selector)}`;
    try {
      const { items } = (await this.#api!.call("GET", path, { signal })) as {
        readonly items: readonly Pod[];
      };
      return removalOrder(this.#options.kind, this.#options.name, items).slice(0, count);
    } catch (error) {
      if (!(error instanceof KubernetesApiError) || error.status !== 403) throw error;
      this.#mayNotDrain = true;
      const { deployment, warn } = this.#context!;
      warn(`Pods of "${deployment}" are not drained before they go: ${error.message}`);
      return [];
    }
  }

  async #markForDeletion(pods: readonly Pod[], signal: AbortSignal): Promise<void> {
    const mergePatch = { metadata: { annotations: { [deletionCost]: "-1000" } } };
    for (const { metadata } of pods) {
      const path = `/api/v1/namespaces/${this.#namespace}/pods/${encodeURIComponent(metadata.name)}`;
      await this.#api!.call("PATCH", path, { signal, mergePatch }).catch((error: unknown) => {
        // It has gone already.
        if (!(error instanceof KubernetesApiError) || error.status !== 404) throw error;
      });
    }
  }

  async #scale(signal: AbortSignal): Promise<Scale> {
    return (await this.#api!.call("GET", this.#path, { signal })) as Scale;
  }

  async #setScale(replicas: number, signal: AbortSignal): Promise<void> {
    await this.#api!.call("PATCH", this.#path, { signal, mergePatch: { spec: { replicas } } });
  }

  get #namespace(): string {
    return encodeURIComponent(this.#options.namespace ?? this.#api!.namespace);
  }

  get #path(): string {
    const collection = collections[this.#options.kind].replace("{}", this.#namespace);
    return `/apis/${collection}/${encodeURIComponent(this.#options.name)}/scale`;
  }
}

/** Endpoints of these pods, however they were found: by the pod's name, or its address. */
function matching(pods: readonly Pod[]): (endpoint: Endpoint) => boolean {
  const names = new Set(pods.map(({ metadata }) => metadata.name));
  const addresses = new Set(
    pods.flatMap(({ status }) => status?.podIPs?.map(({ ip }) => ip) ?? status?.podIP ?? []),
  );
  return ({ name, url }) =>
    (name !== undefined && names.has(name)) || addresses.has(new URL(url).hostname.replace(/^\[|\]$/g, ""));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
