import type { KubeConfig } from "@kubernetes/client-node";

import {
  type Discovery,
  type DiscoveryContext,
  type Endpoint,
  type EndpointInit,
  parseEndpoints,
} from "../config/endpoint.ts";
import { anything, objectOf, oneOf, optional, text, withDefault } from "../config/lax-schema.ts";
import { parseConfig } from "../config/parse-config.ts";
import { pause } from "../internal/pause.ts";
import { connectKubernetes, type KubernetesApi, KubernetesApiError } from "./kubernetes-api.ts";
import { type EndpointSlice, readyEndpoints, type ServiceEndpoint } from "./endpoint-slices.ts";

/** Options of {@link kubernetesDiscovery}. */
export interface KubernetesDiscoveryOptions {
  /** Name of the service whose pods are the engines; a headless one is best, nothing goes through its address. */
  readonly service: string;
  /** @default that of the kubeconfig's context, or of the pod this runs in */
  readonly namespace?: string | undefined;
  /** Name or number of the engines' port. @default the service's only port, or the one named `http` */
  readonly port?: string | number | undefined;
  /** @default "http" */
  readonly scheme?: "http" | "https" | undefined;
  /** Which family of addresses, where a service has two. @default "IPv4" */
  readonly addressType?: "IPv4" | "IPv6" | "FQDN" | undefined;
  /** `"pod-name"`: the number at the end of the pod's name is the endpoint's data-parallel rank. @default none */
  readonly rank?: "pod-name" | undefined;
  /** Label of the pods whose value is the rank, for example `apps.kubernetes.io/pod-index`. Needs `get` on pods. */
  readonly rankLabel?: string | undefined;
  /** Label of the pods whose value is the pair group. Needs `get` on pods. */
  readonly pairGroupLabel?: string | undefined;
  /** Everything else about an endpoint; put over what is known. */
  readonly endpoint?: ((found: ServiceEndpoint) => Partial<EndpointInit>) | undefined;
  /** @default as `kubectl` finds it, or the cluster this pod runs in */
  readonly kubeConfig?: KubeConfig | undefined;
}

const name = text({ minLength: 1 });

const schema = objectOf("kubernetesDiscovery", {
  service: name,
  namespace: optional(name),
  port: optional(anything()),
  scheme: withDefault(oneOf(["http", "https"]), "http"),
  addressType: withDefault(oneOf(["IPv4", "IPv6", "FQDN"]), "IPv4"),
  rank: optional(oneOf(["pod-name"])),
  rankLabel: optional(name),
  pairGroupLabel: optional(name),
  endpoint: optional(anything()),
  kubeConfig: optional(anything()),
});

const firstPauseMs = 500;
const longestPauseMs = 30_000;
/** The server ends a watch after this long; it is begun anew where it ended. */
const watchS = 290;
/** Later than that the connection is dead, whatever it says. */
const silenceMs = (watchS + 30) * 1_000;

/**
 * The ready pods of a service, from its EndpointSlices: listed once, then watched. A pod that is terminating drains.
 * When the API server can't be reached, the last list stays in use. Needs the optional peer `@kubernetes/client-node`,
 * and `list` and `watch` on `endpointslices`.
 *
 * @throws ConfigurationError when an option is not usable
 */
export function kubernetesDiscovery(options: KubernetesDiscoveryOptions): Discovery {
  const parsed = parseConfig(schema, options, "kubernetesDiscovery");
  const given = { ...options, ...parsed } as Options;
  return async function* discover(signal, context) {
    const api = await connectKubernetes(options.kubeConfig, context.clock);
    yield* new SliceWatch(given, api, signal, context).snapshots();
  };
}

type Options = KubernetesDiscoveryOptions & {
  readonly scheme: string;
  readonly addressType: "IPv4" | "IPv6" | "FQDN";
};

interface WatchEvent {
  readonly type?: string;
  readonly object?: EndpointSlice & { readonly code?: number; readonly message?: string };
}

interface PodLabels {
  readonly metadata?: { readonly labels?: Readonly<Record<string, string>> };
}

class SliceWatch {
  readonly #options: Options;
  readonly #api: KubernetesApi;
  readonly #signal: AbortSignal;
  readonly #context: DiscoveryContext;
  readonly #path: string;
  readonly #namespace: string;
  #slices = new Map<string, EndpointSlice>();
  #podLabels = new Map<string, Readonly<Record<string, string>>>();
  #version = "";
  #last: string | undefined;
  #failures = 0;
  #warned = false;

  constructor(options: Options, api: KubernetesApi, signal: AbortSignal, context: DiscoveryContext) {
    this.#options = options;
    this.#api = api;
    this.#signal = signal;
    this.#context = context;
    this.#namespace = encodeURIComponent(options.namespace ?? api.namespace);
    const selector = encodeURIComponent(`kubernetes.io/service-name=${options.service}`);
    this.#path = `/apis/discovery.k8s.io/v1/namespaces/${this.#namespace}/endpointslices?labelSelector=${selector}`;
  }

  async *snapshots(): AsyncGenerator<readonly Endpoint[], void, undefined> {
    while (!this.#signal.aborted) {
      try {
        if (this.#version === "") await this.#list();
        yield* this.#changed();
        yield* this.#watch();
      } catch (error) {
        if (this.#signal.aborted) return;
        if (this.#last === undefined) throw error;
        await this.#failed(error);
      }
    }
  }

  async #list(): Promise<void> {
    const list = (await this.#api.call("GET", this.#path, { signal: this.#signal })) as {
      readonly metadata: { readonly resourceVersion: string };
      readonly items: readonly EndpointSlice[];
    };
    this.#slices = new Map(list.items.map((slice) => [slice.metadata.name, slice]));
    this.#version = list.metadata.resourceVersion;
  }

  async *#watch(): AsyncGenerator<readonly Endpoint[], void, undefined> {
    const { clock } = this.#context;
    const began = clock.now();
    const silent = new AbortController();
    const timer = clock.setTimer(() => silent.abort(new Error("The watch said nothing")), silenceMs);
    const query = `&watch=true&allowWatchBookmarks=true&timeoutSeconds=${watchS}&resourceVersion=${encodeURIComponent(this.#version)}`;
    try {
      const events = this.#api.watch(this.#path + query, AbortSignal.any([this.#signal, silent.signal]));
      for await (const event of events) {
        timer.refresh();
        this.#apply(event as WatchEvent);
        yield* this.#changed();
        this.#recovered();
      }
    } finally {
      timer.cancel();
    }
    // A server that ends every watch at once must not be asked without end.
    if (clock.now() - began < firstPauseMs) await pause(clock, this.#pauseMs(1), this.#signal);
    else this.#recovered();
  }

  /** @throws KubernetesApiError for an ERROR event; TypeError for what no API server sends */
  #apply({ type, object }: WatchEvent): void {
    if (type === "ERROR") {
      throw new KubernetesApiError("GET", "the watch", object?.code ?? 0, object?.message ?? "");
    }
    const { name: slice, resourceVersion } = object!.metadata;
    if (type === "ADDED" || type === "MODIFIED") this.#slices.set(slice, object!);
    else if (type === "DELETED") this.#slices.delete(slice);
    if (resourceVersion !== undefined) this.#version = resourceVersion;
  }

  async *#changed(): AsyncGenerator<readonly Endpoint[], void, undefined> {
    const found = readyEndpoints(this.#slices.values(), {
      port: this.#options.port,
      addressType: this.#options.addressType,
    });
    await this.#readLabels(found);
    const endpoints = parseEndpoints(
      found.map((each) => this.#toEndpoint(each)),
      `Service ${this.#options.service}`,
    );
    const content = JSON.stringify(endpoints);
    if (content === this.#last) return;
    this.#last = content;
    yield endpoints;
  }

  #toEndpoint(found: ServiceEndpoint): EndpointInit {
    const { scheme, addressType, rank, rankLabel, pairGroupLabel, endpoint } = this.#options;
    const { address, port, podName, podUid = "", zone, node } = found;
    const labels = this.#podLabels.get(podUid) ?? {};
    const host = addressType === "IPv6" ? `[${address}]` : address;
    const number =
      rankLabel === undefined
        ? rank === "pod-name"
          ? /-(\d+)$/.exec(podName ?? "")?.[1]
          : undefined
        : labels[rankLabel];
    const group = pairGroupLabel === undefined ? undefined : labels[pairGroupLabel];
    return {
      url: `${scheme}://${host}:${port}`,
      ...(podName === undefined ? {} : { name: podName }),
      labels: { ...(zone === undefined ? {} : { zone }), ...(node === undefined ? {} : { node }) },
      ...(number !== undefined && /^\d+$/.test(number) ? { rank: Number(number) } : {}),
      ...(group === undefined || group === "" ? {} : { pairGroup: group }),
      ...endpoint?.(found),
    };
  }

  /** Labels of pods are read once for each pod, and only when something depends on them. */
  async #readLabels(found: readonly ServiceEndpoint[]): Promise<void> {
    const { rankLabel, pairGroupLabel } = this.#options;
    if (rankLabel === undefined && pairGroupLabel === undefined) return;
    const known = this.#podLabels;
    const entries = await Promise.all(
      found.map(async ({ podName, podUid }) => {
        if (podName === undefined || podUid === undefined) return [];
        const before = known.get(podUid);
        if (before !== undefined) return [[podUid, before] as const];
        const path = `/api/v1/namespaces/${this.#namespace}/pods/${encodeURIComponent(podName)}`;
        const labels = await this.#api.call("GET", path, { signal: this.#signal }).then(
          (pod) => (pod as PodLabels).metadata?.labels ?? {},
          (error: unknown) => {
            // It is gone, and its slice will say so soon.
            if (error instanceof KubernetesApiError && error.status === 404) return undefined;
            throw error;
          },
        );
        return labels === undefined ? [] : [[podUid, labels] as const];
      }),
    );
    this.#podLabels = new Map(entries.flat());
  }

  async #failed(error: unknown): Promise<void> {
    // A connection that broke goes on where it was. After anything else only a new list is sure.
    const certain = !(
      error instanceof KubernetesApiError ||
      error instanceof SyntaxError ||
      error instanceof TypeError
    );
    if (!certain) this.#version = "";
    // Both happen every day: a version that is too old, and a watch that is cut.
    const usual = certain || (error instanceof KubernetesApiError && error.status === 410);
    this.#failures += 1;
    if (!this.#warned && (!usual || this.#failures > 1)) {
      this.#warned = true;
      this.#context.warn(
        `Service ${this.#options.service} of "${this.#context.deployment}" can't be watched; the last known ` +
          `endpoints stay in use: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
    await pause(this.#context.clock, this.#pauseMs(this.#failures), this.#signal);
  }

  #recovered(): void {
    this.#failures = 0;
    if (!this.#warned) return;
    this.#warned = false;
    this.#context.warn(`Service ${this.#options.service} of "${this.#context.deployment}" is watched again.`);
  }

  /** Grows with every failure; between half and all of it, so that many processes don't come back together. */
  #pauseMs(failures: number): number {
    const full = Math.min(firstPauseMs * 2 ** (failures - 1), longestPauseMs);
    return full * (0.5 + this.#context.random.next() / 2);
  }
}
