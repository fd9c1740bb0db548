import { type FetchHandler, fetchHandler } from "../adapters/fetch-handler.ts";
import type { HttpRequest, HttpResponse } from "../adapters/http-exchange.ts";
import { type NodeHandler, nodeHandler } from "../adapters/node-handler.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import { systemClock } from "../internal/clock.ts";
import { systemRandom } from "../internal/random.ts";
import type { MetricsRegistry } from "../observability/metric-set.ts";
import type { PDHealth } from "../observability/pd-health-report.ts";
import type { RequestTrace } from "../observability/request-trace.ts";
import { toOpenAIError } from "../protocol/openai-error.ts";
import { noIngress, shuttingDown } from "./application-errors.ts";
import { type ApplicationGraph, buildGraph } from "./application-graph.ts";
import { ApplicationObserver } from "./application-observer.ts";
import type { RayService, RayServiceOptions } from "./ray-service.ts";
import {
  type Exportable,
  notExportable,
  rayServiceFor,
  type ServeConfigDocument,
  serveConfigOf,
  type ServeConfigOptions,
} from "./serve-export.ts";
import { warnOnce } from "./warn-once.ts";
import { yamlText } from "./yaml-text.ts";
import type {
  ApplicationEnvironment,
  ApplicationNode,
  DeploymentControl,
  DeploymentInstance,
  DeploymentStatusDetails,
} from "./deployment-context.ts";
import type { ApplicationStatus, ApplicationStatusOverview, ShutdownOptions } from "./application-status.ts";

/** An instance that answers HTTP. */
interface HttpRoot extends DeploymentInstance {
  handle?(request: HttpRequest): Promise<HttpResponse>;
  createHandle?(begin: BeginRequest): unknown;
}

/** Lets a request in: starts the application if need be, and counts the request until its token ends. */
export type BeginRequest = (cancel: CancelToken) => Promise<void>;

/** The in-process handle of an application's root. */
export type HandleOf<Instance> = Instance extends { createHandle(begin: BeginRequest): infer Handle }
  ? Handle
  : never;

/**
 * A bound graph of deployments: what builders return, what users mount. Mirrors Ray's `Application`.
 *
 * Making one starts nothing. The first request starts it, or {@link start} does.
 */
export class Application<Instance extends DeploymentInstance = DeploymentInstance> {
  /** @internal */
  readonly node: ApplicationNode<Instance>;
  /**
   * For node:http, Express and everything with their `(request, response, next?)` shape. Bytes go from the engine's
   * socket to the client's without a Web stream between.
   */
  readonly handler: NodeHandler;
  /** For everything that takes a Web-standard `Request` and returns a `Response`. */
  readonly fetch: FetchHandler;
  #environment: ApplicationEnvironment = { clock: systemClock, random: systemRandom, warn: warnOnce() };
  #graph: ApplicationGraph | undefined;
  #status: ApplicationStatus = "NOT_STARTED";
  #message = "";
  #lastDeployedMs: number | null = null;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #handle: unknown;
  #notes: readonly string[] = [];
  #exportable: Exportable | undefined;
  readonly #observer: ApplicationObserver;
  readonly #inFlight = new Set<CancelToken>();
  #onIdle: (() => void) | undefined;

  constructor(node: ApplicationNode<Instance>) {
    this.node = node;
    this.#observer = new ApplicationObserver(node.name, () => ({
      ...this.status(),
      pdHealth: this.pdHealth(),
    }));
    const service = (request: HttpRequest): Promise<HttpResponse> => this.#serve(request);
    this.handler = nodeHandler(service);
    this.fetch = fetchHandler(service);
  }

  /** Name of the root deployment. */
  get name(): string {
    return this.node.name;
  }

  /** Calls the application without HTTP, with the same results as over HTTP. */
  get handle(): HandleOf<Instance> {
    this.#handle ??= (this.#root() as HttpRoot).createHandle?.((cancel) => this.#begin(cancel));
    if (this.#handle === undefined)
      throw new TypeError(`Deployment "${this.name}" has no in-process handle.`);
    return this.#handle as HandleOf<Instance>;
  }

  /** @internal For tests and tools: puts in another clock, randomness or log, before the start. */
  withEnvironment(environment: Partial<ApplicationEnvironment>): this {
    if (this.#starting !== undefined) throw new TypeError("The application was started already.");
    this.#graph = undefined;
    this.#environment = { ...this.#environment, ...environment };
    return this;
  }

  /** What the configuration asks for that remote engines can't be made to do, or that may surprise its author. */
  notes(): readonly string[] {
    return this.#notes;
  }

  /** @internal Used by builders: makes the instances, so that everything wrong with them shows now. Starts nothing. */
  checked(): this {
    this.#root();
    return this;
  }

  /** @internal Used by builders. */
  withNotes(notes: readonly string[]): this {
    this.#notes = [...this.#notes, ...notes];
    return this;
  }

  /** @internal Used by builders: what Ray would build this application from. */
  withExport(exportable: Exportable): this {
    this.#exportable = exportable;
    return this;
  }

  /** @internal @throws ConfigurationError when no builder made it */
  get exportable(): Exportable {
    if (this.#exportable === undefined) throw notExportable(this.name);
    return this.#exportable;
  }

  /**
   * The config file with which Ray's `serve deploy` runs the same application: an object, or YAML text. What only
   * this library has (`endpoints`, `client`, options of its ingress) is left out.
   *
   * @throws ConfigurationError when the graph was put together by hand, or a class in it has no import path
   */
  toServeConfig(options: ServeConfigOptions & { readonly format: "yaml" }): string;
  toServeConfig(
    options?: ServeConfigOptions & { readonly format?: "object" | undefined },
  ): ServeConfigDocument;
  toServeConfig({
    format,
    ...options
  }: ServeConfigOptions & { readonly format?: "object" | "yaml" | undefined } = {}):
    | ServeConfigDocument
    | string {
    const document = serveConfigOf(this.exportable, options);
    return format === "yaml" ? yamlText(document) : document;
  }

  /**
   * The KubeRay manifest (`ray.io/v1` RayService) that runs the same application: an object, or YAML text.
   *
   * @throws ConfigurationError as {@link toServeConfig}, and for names that Kubernetes would refuse
   */
  toRayService(options: RayServiceOptions & { readonly format: "yaml" }): string;
  toRayService(options: RayServiceOptions & { readonly format?: "object" | undefined }): RayService;
  toRayService({
    format,
    ...options
  }: RayServiceOptions & { readonly format?: "object" | "yaml" | undefined }): RayService | string {
    const manifest = rayServiceFor(this.exportable, options);
    return format === "yaml" ? yamlText(manifest) : manifest;
  }

  /** Opens the pools and starts the background work. Safe to call again; every call waits for the same start. */
  start(): Promise<void> {
    if (this.#stopping !== undefined) return Promise.reject(shuttingDown());
    this.#starting ??= this.#start();
    return this.#starting;
  }

  status(): ApplicationStatusOverview {
    const deployments: Record<string, DeploymentStatusDetails> = {};
    for (const [name, instance] of this.#graph?.instances ?? []) {
      const details = instance.status?.();
      if (details !== undefined) deployments[name] = details;
    }
    const unhealthy = Object.values(deployments).some((details) => details.status === "UNHEALTHY");
    return {
      status: this.#status === "RUNNING" && unhealthy ? "UNHEALTHY" : this.#status,
      message: this.#message,
      lastDeployedMs: this.#lastDeployedMs,
      inFlight: this.#inFlight.size,
      deployments,
    };
  }

  /**
   * The pool of one deployment, to change it by hand.
   *
   * @example await app.deployment("Prefill:llama-8b").drain("prefill-0:8000");
   * @param name as in {@link status}
   * @throws ConfigurationError when there is no such deployment, or it has no engines of its own
   */
  deployment(name: string): DeploymentControl {
    this.#root();
    const pools = [...this.#graph!.instances].flatMap(([each, { pool }]) =>
      pool === undefined ? [] : [{ each, pool }],
    );
    const found = pools.find(({ each }) => each === name);
    if (found !== undefined) return found.pool;
    const known = this.#graph!.instances.has(name);
    throw new ConfigurationError(`Application "${this.name}"`, [
      {
        path: ["deployment"],
        message: known ? "This deployment has no engines of its own" : "There is no such deployment",
        type: "value_error",
        expected: `one of ${pools.map(({ each }) => JSON.stringify(each)).join(", ")}`,
        received: JSON.stringify(name),
      },
    ]);
  }

  /** For every prefill/decode deployment: whether disaggregation is really happening. */
  pdHealth(): readonly PDHealth[] {
    const instances = this.#graph?.instances.values() ?? [];
    return [...instances].flatMap((instance) => instance.pdHealth?.() ?? []);
  }

  /**
   * The story of one of the last 1,000 requests that are over: which replicas, when, what was tried again and why.
   *
   * @param requestId the `x-request-id` of its answer
   */
  explain(requestId: string): RequestTrace | undefined {
    return this.#observer.explain(requestId);
  }

  /** Has the application's metrics counted in a `prom-client` registry of yours, from now on. */
  useMetrics(registry: MetricsRegistry): this {
    this.#observer.use(registry);
    return this;
  }

  /**
   * Metrics in Prometheus' text format: this library's, counted since the first call of this or {@link useMetrics},
   * and those of the engines, asked now, of deployments with `logEngineMetrics`.
   */
  async metrics(): Promise<string> {
    const instances = [...(this.#graph?.instances.values() ?? [])];
    const pages = await Promise.all(
      instances.map(async (instance) => (await instance.engineMetrics?.()) ?? []),
    );
    return this.#observer.page(pages.flat());
  }

  /**
   * Stops: new requests get 503, running ones may finish within `graceMs`, then they end with an error. Afterwards no
   * socket, timer or listener is left. Safe to call again; every call waits for the same end.
   */
  shutdown(options: ShutdownOptions = {}): Promise<void> {
    this.#stopping ??= this.#stop(options.graceMs ?? 20_000);
    return this.#stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  #root(): Instance {
    this.#graph ??= buildGraph(this.node, nodeOf, {
      ...this.#environment,
      observe: (trace) => this.#observer.observe(trace),
    });
    return this.#graph.root as Instance;
  }

  async #start(): Promise<void> {
    this.#status = "DEPLOYING";
    try {
      this.#root();
      await Promise.all([...this.#graph!.instances.values()].map(async (instance) => instance.start?.()));
      this.#status = "RUNNING";
      this.#lastDeployedMs = this.#environment.clock.wallNow();
    } catch (error) {
      this.#status = "DEPLOY_FAILED";
      this.#message = error instanceof Error ? error.message : String(error);
      // The next request may find the world in better shape.
      this.#starting = undefined;
      throw error;
    }
  }

  async #begin(cancel: CancelToken): Promise<void> {
    if (this.#stopping !== undefined) throw shuttingDown();
    this.#inFlight.add(cancel);
    cancel.onEnd(() => {
      this.#inFlight.delete(cancel);
      if (this.#inFlight.size === 0) this.#onIdle?.();
    });
    if (this.#status !== "RUNNING") await this.start();
  }

  async #serve(request: HttpRequest): Promise<HttpResponse> {
    try {
      if (this.#status === "RUNNING" && this.#stopping === undefined) void this.#begin(request.cancel);
      else await this.#begin(request.cancel);
      const root = this.#root() as HttpRoot;
      if (root.handle === undefined) throw noIngress(this.name);
      return await root.handle(request);
    } catch (error) {
      const { status, headers, body } = toOpenAIError(error);
      const text = Buffer.from(JSON.stringify(body));
      return { status, headers: [["content-type", "application/json"], ...headers], body: text };
    }
  }

  async #stop(graceMs: number): Promise<void> {
    const running = this.#starting;
    if (running !== undefined) await running.catch(() => undefined);
    const instances = [...(this.#graph?.instances.values() ?? [])];
    this.#status = "DELETING";
    await this.#untilIdle(graceMs);
    for (const token of this.#inFlight) token.cancel(shuttingDown());
    await Promise.all(instances.map(async (instance) => instance.shutdown?.()));
    this.#status = "NOT_STARTED";
  }

  async #untilIdle(graceMs: number): Promise<void> {
    if (this.#inFlight.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = this.#environment.clock.setTimer(resolve, graceMs, { keepAlive: true });
      this.#onIdle = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}

function nodeOf(value: unknown): ApplicationNode | undefined {
  return value instanceof Application ? value.node : undefined;
}
