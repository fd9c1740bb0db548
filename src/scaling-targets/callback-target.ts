import type { Discovery, Endpoint, EndpointInit } from "../config/endpoint.ts";
import { parseEndpoints } from "../config/endpoint.ts";
import { boolean, objectOf, withDefault, anything, optional } from "../config/lax-schema.ts";
import { parseConfig } from "../config/parse-config.ts";
import type { ScalingContext, ScalingTarget } from "../config/scaling-target.ts";
import { mutableDiscovery } from "../discovery/mutable-discovery.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { OneDeployment } from "./one-deployment.ts";

/** What a {@link ScaleCallback} gets. */
export interface ScaleRequest {
  /** Replicas wanted from now on, 0 or more. */
  readonly replicas: number;
  /** Name of the deployment. */
  readonly deployment: string;
  /** Engines reported ready and not gone, oldest first. Always empty without `reportsEndpoints`. */
  readonly ready: readonly Endpoint[];
  /**
   * Tells that an engine is ready: it gets requests at once. May be called at any time, also after the callback is
   * done. An engine that is ready already stays as it is.
   *
   * @throws ConfigurationError for a bad endpoint; TypeError without `reportsEndpoints`
   */
  readonly reportReady: (endpoint: string | EndpointInit) => void;
  /**
   * Takes an engine out of service. Resolves when nobody uses it any more, at the latest after
   * `gracefulShutdownTimeoutS`: then stop it. The next call comes when this one has returned, so do not await this in
   * the callback if a new number should be heard meanwhile.
   *
   * @param url base URL, or name
   */
  readonly drain: (url: string) => Promise<void>;
  /** The deployment ends. */
  readonly signal: AbortSignal;
}

/**
 * Makes it so many. When it resolves the world has taken note; engines may come and go later. What it throws is
 * reported, and it is called again with a pause. Never called while it runs.
 */
export type ScaleCallback = (request: ScaleRequest) => void | Promise<void>;

/** Options of {@link callbackTarget}. */
export interface CallbackTargetOptions {
  /** How many run already, asked once at the start; undefined: not known. */
  readonly getReplicas?:
    | ((signal: AbortSignal) => number | undefined | Promise<number | undefined>)
    | undefined;
  /**
   * True: the callback says with `reportReady` where engines are, and the configuration has no `endpoints`. False: a
   * source of endpoints finds them. @default false
   */
  readonly reportsEndpoints?: boolean | undefined;
  /** The deployment ends: stop what was started. Its requests are over. */
  readonly stop?: ((ready: readonly Endpoint[]) => void | Promise<void>) | undefined;
}

const schema = objectOf("callbackTarget", {
  getReplicas: optional(anything()),
  reportsEndpoints: withDefault(boolean(), false),
  stop: optional(anything()),
});

/**
 * Scaling by your own function: a cloud API, a queue, a pager.
 *
 * @example scalingTarget: callbackTarget(({ replicas }) => cloud.resize("prefill-group", replicas))
 * @throws ConfigurationError when an option is not usable
 */
export function callbackTarget(scale: ScaleCallback, options: CallbackTargetOptions = {}): ScalingTarget {
  const { reportsEndpoints } = parseConfig(schema, options, "callbackTarget");
  if (typeof scale !== "function") {
    throw new ConfigurationError("callbackTarget", [
      { path: ["scale"], type: "value_error", message: "Not a function", received: typeof scale },
    ]);
  }
  return new CallbackTarget(scale, options, reportsEndpoints);
}

class CallbackTarget implements ScalingTarget {
  readonly endpoints: Discovery | undefined;
  readonly #scale: ScaleCallback;
  readonly #options: CallbackTargetOptions;
  readonly #ready = mutableDiscovery();
  readonly #deployment = new OneDeployment("callbackTarget");

  constructor(scale: ScaleCallback, options: CallbackTargetOptions, reportsEndpoints: boolean) {
    this.#scale = scale;
    this.#options = options;
    this.endpoints = reportsEndpoints ? this.#ready : undefined;
  }

  start(context: ScalingContext): Promise<void> {
    this.#deployment.begin(context);
    return Promise.resolve();
  }

  async getReplicas(signal: AbortSignal): Promise<number | undefined> {
    return this.#options.getReplicas?.(signal);
  }

  async setReplicas(replicas: number, signal: AbortSignal): Promise<void> {
    await this.#scale({
      replicas,
      deployment: this.#deployment.context.deployment,
      ready: this.#ready.endpoints,
      reportReady: (endpoint) => this.#reportReady(endpoint),
      drain: (url) => this.#drain(url),
      signal,
    });
  }

  async stop(): Promise<void> {
    if (!this.#deployment.begun) return;
    try {
      await this.#options.stop?.(this.#ready.endpoints);
    } finally {
      this.#deployment.end();
    }
  }

  #reportReady(endpoint: string | EndpointInit): void {
    if (this.endpoints === undefined) {
      throw new TypeError("callbackTarget: reportReady needs the option reportsEndpoints: true.");
    }
    const [given] = parseEndpoints([endpoint]);
    const known = this.#ready.endpoints.some(({ url, rank }) => url === given!.url && rank === given!.rank);
    if (!known) this.#ready.add(endpoint);
  }

  async #drain(url: string): Promise<void> {
    const wanted = url.replace(/\/+$/, "").replace(/\/v1$/, "");
    this.#ready.remove(wanted);
    await this.#deployment.context.drain((endpoint) => endpoint.url === wanted || endpoint.name === wanted);
  }
}
