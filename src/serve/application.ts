import { type FetchHandler, fetchHandler } from "../adapters/fetch-handler.ts";
import type { HttpRequest, HttpResponse } from "../adapters/http-exchange.ts";
import { type NodeHandler, nodeHandler } from "../adapters/node-handler.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import { systemClock } from "../internal/clock.ts";
import { systemRandom } from "../internal/random.ts";
import type { Logger, LoggerOptions } from "../observability/logger.ts";
import type { MetricsRegistry } from "../observability/metric-set.ts";
import type { PDHealth } from "../observability/pd-health-report.ts";
import { errorAnswer, noIngress, shuttingDown } from "./application-errors.ts";
import {
  type ApplicationGraph,
  buildGraph,
  deploymentStatuses,
  engineMetricsOf,
} from "./application-graph.ts";
import { type ApplicationPart, findInstance, type HandleOf, type HttpRoot } from "./application-part.ts";
import { ApplicationObserver, type MetricsOptions, type RequestExplanation } from "./application-observer.ts";
import type { ApplicationView, RequestWatcher } from "./request-watcher.ts";
import { findPool } from "./find-pool.ts";
import { InFlightRequests } from "./in-flight-requests.ts";
import { type MountedService, MountTable } from "./mounted-service.ts";
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
import { type DocumentFormat, written, type Written } from "./yaml-text.ts";
import type {
  ApplicationEnvironment,
  ApplicationNode,
  DeploymentControl,
  DeploymentInstance,
} from "./deployment-context.ts";
import type { ApplicationStatus, ApplicationStatusOverview, ShutdownOptions } from "./application-status.ts";

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
  readonly #inFlight = new InFlightRequests();
  readonly #mounts = new MountTable();

  constructor(node: ApplicationNode<Instance>) {
    this.node = node;
    this.#observer = new ApplicationObserver({
      clock: () => this.#environment.clock,
      warn: (message) => this.#warn(message),
      snapshot: () => ({ ...this.status(), pdHealth: this.pdHealth() }),
      engineMetrics: () => engineMetricsOf(this.#graph),
    });
    const service = (request: HttpRequest): Promise<HttpResponse> =>
      this.#mounts.find(request.path)?.service(request) ?? this.#serve(request);
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
      throw new TypeError(
        `Deployment "${this.name}" has no in-process handle of its own; see serve.getDeploymentHandle.`,
      );
    return this.#handle as HandleOf<Instance>;
  }

  /** @internal One deployment by name. @throws ConfigurationError when there is no such deployment */
  part(name: string): ApplicationPart {
    this.#root();
    const instance = findInstance(this.name, this.#graph!.instances, name);
    return { instance, environment: this.#environment, begin: (cancel) => this.#begin(cancel) };
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
  toServeConfig<Format extends DocumentFormat = "object">(
    options: ServeConfigOptions & { readonly format?: Format | undefined } = {},
  ): Written<Format, ServeConfigDocument> {
    return written(serveConfigOf(this.exportable, options), options.format);
  }

  /**
   * The KubeRay manifest (`ray.io/v1` RayService) that runs the same application: an object, or YAML text.
   *
   * @throws ConfigurationError as {@link toServeConfig}, and for names that Kubernetes would refuse
   */
  toRayService<Format extends DocumentFormat = "object">(
    options: RayServiceOptions & { readonly format?: Format | undefined },
  ): Written<Format, RayService> {
    return written(rayServiceFor(this.exportable, options), options.format);
  }

  /** Opens the pools and starts the background work. Safe to call again; every call waits for the same start. */
  start(): Promise<void> {
    if (this.#stopping !== undefined) return Promise.reject(shuttingDown());
    this.#starting ??= this.#start();
    return this.#starting;
  }

  status(): ApplicationStatusOverview {
    const deployments = deploymentStatuses(this.#graph);
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
    return findPool(this.name, this.#graph!.instances, name);
  }

  /** For every prefill/decode deployment: whether disaggregation is really happening. */
  pdHealth(): readonly PDHealth[] {
    const instances = this.#graph?.instances.values() ?? [];
    return [...instances].flatMap((instance) => instance.pdHealth?.() ?? []);
  }

  /**
   * The story of one of the last 1,000 requests that are over (see {@link keepTraces}): which replicas, when, what was
   * tried again and why. Undefined for what is older, or never came to a model.
   *
   * @param requestId the `x-request-id` of its answer
   */
  explain(requestId: string): RequestExplanation | undefined {
    return this.#observer.explain(requestId);
  }

  /** How many requests {@link explain} remembers, 0 or more. @throws RangeError */
  keepTraces(count: number): this {
    this.#observer.keepTraces(count);
    return this;
  }

  /**
   * Logs what a person should know, and if asked one line for each request, instead of Node's process warnings. Never
   * prompts, answers, headers or keys. @throws TypeError when a method is missing
   */
  useLogger(logger: Logger, options?: LoggerOptions): this {
    this.#observer.useLogger(logger, options);
    return this;
  }

  /**
   * Has metrics counted, in a `prom-client` registry of yours or one of the application's own. Call it before the start.
   *
   * @throws TypeError when they are counted already
   */
  useMetrics(registry?: MetricsRegistry, options: MetricsOptions = {}): this {
    this.#observer.useMetrics(registry, options);
    return this;
  }

  /**
   * Metrics in Prometheus' text format: this library's, counted since {@link useMetrics} or else the first call of
   * this, and those of the engines, asked now, of deployments with `logEngineMetrics`.
   */
  async metrics(): Promise<string> {
    return (await this.#observer.page()).text;
  }

  /**
   * Has something answer HTTP beside the application's own routes, through every door: `app.mount(dashboard(app))`. Its
   * requests neither start the application nor count as running.
   *
   * @throws TypeError when something is mounted under its prefix already
   */
  mount(mounted: MountedService): this {
    this.#mounts.add(mounted);
    return this;
  }

  /** @internal For the status page: sees requests come and go until the application has shut down. */
  watch(watcher: RequestWatcher): ApplicationView {
    return this.#observer.watch(watcher);
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
      warn: (message) => this.#warn(message),
      observe: (trace) => this.#observer.request(trace),
      observeStart: (trace) => this.#observer.requestStarted(trace),
      metrics: { enable: () => this.#observer.enableMetrics(), page: () => this.#observer.page() },
    });
    return this.#graph.root as Instance;
  }

  #warn(message: string): void {
    if (!this.#observer.warn(message)) this.#environment.warn(message);
  }

  async #start(): Promise<void> {
    this.#status = "DEPLOYING";
    try {
      this.#root();
      await this.#observer.start();
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

  /** Counts a request. @returns the start that it has to wait for, if any @throws when nothing more is served */
  #enter(cancel: CancelToken): Promise<void> | undefined {
    if (this.#stopping !== undefined) throw shuttingDown();
    this.#inFlight.add(cancel);
    return this.#status === "RUNNING" ? undefined : this.start();
  }

  async #begin(cancel: CancelToken): Promise<void> {
    await this.#enter(cancel);
  }

  async #serve(request: HttpRequest): Promise<HttpResponse> {
    const began = this.#environment.clock.now();
    try {
      const starting = this.#enter(request.cancel);
      if (starting !== undefined) await starting;
      const root = this.#root() as HttpRoot;
      if (root.handle === undefined) throw noIngress(this.name);
      return this.#observer.http(request, await root.handle(request), began);
    } catch (error) {
      return this.#observer.http(request, errorAnswer(error), began);
    }
  }

  async #stop(graceMs: number): Promise<void> {
    const running = this.#starting;
    if (running !== undefined) await running.catch(() => undefined);
    const instances = [...(this.#graph?.instances.values() ?? [])];
    this.#status = "DELETING";
    await this.#inFlight.untilIdle(this.#environment.clock, graceMs);
    this.#inFlight.cancel(shuttingDown());
    await Promise.all(instances.map(async (instance) => instance.shutdown?.()));
    this.#observer.stop();
    this.#status = "NOT_STARTED";
  }
}

function nodeOf(value: unknown): ApplicationNode | undefined {
  return value instanceof Application ? value.node : undefined;
}
