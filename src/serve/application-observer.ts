import type { HttpRequest, HttpResponse } from "../adapters/http-exchange.ts";
import type { ApplicationSnapshot } from "../observability/application-snapshot.ts";
import type { Clock } from "../internal/clock.ts";
import { type Logger, type LoggerOptions, logRequest } from "../observability/logger.ts";
import { metricDefinitions } from "../observability/metric-definitions.ts";
import {
  metricSetOf,
  type MetricSet,
  type MetricsPage,
  type MetricsRegistry,
  type PromClient,
} from "../observability/metric-set.ts";
import { phasesOf, type RequestPhases } from "../observability/request-phases.ts";
import type { RequestTrace } from "../observability/request-trace.ts";
import { TraceRing } from "../observability/trace-ring.ts";
import { type EngineMetricsPage, mergeMetrics, sampleText } from "../protocol/merge-metrics.ts";
import type { ApplicationView, RequestWatcher } from "./request-watcher.ts";

/** How metrics are told from those of other applications. */
export interface MetricsOptions {
  /** Value of the label `application`, unique within the registry. @default "default", as Ray's application name */
  readonly application?: string | undefined;
}

/** The whole story of a request: its trace, and the times of its steps. */
export type RequestExplanation = RequestTrace & { readonly phases: RequestPhases };

/** What an {@link ApplicationObserver} asks of its application. */
export interface Observed {
  clock(): Clock;
  /** For what a person should know. */
  warn(message: string): void;
  snapshot(): ApplicationSnapshot;
  /** Pages of all engines whose deployments pass them on. */
  engineMetrics(): Promise<readonly EngineMetricsPage[]>;
}

const defaultTraces = 1000;

/** Keeps account of one application's requests: recent ones, metrics, log lines. */
export class ApplicationObserver {
  readonly #observed: Observed;
  #recent = new TraceRing(defaultTraces);
  #wantsMetrics = false;
  #registry: MetricsRegistry | undefined;
  #application = "default";
  #opening: Promise<MetricSet> | undefined;
  #metrics: MetricSet | undefined;
  #leave: (() => void) | undefined;
  #logger: Logger | undefined;
  #logsRequests = false;
  readonly #watchers = new Set<RequestWatcher>();

  constructor(observed: Observed) {
    this.#observed = observed;
  }

  /** @throws RangeError when it is no whole number of at least 0 */
  keepTraces(count: number): void {
    if (!Number.isSafeInteger(count) || count < 0) {
      throw new RangeError(`keepTraces takes a whole number of at least 0, not ${String(count)}.`);
    }
    const kept = this.#recent.all();
    this.#recent = new TraceRing(count);
    for (const trace of kept.slice(-count || kept.length)) this.#recent.add(trace);
  }

  explain(requestId: string): RequestExplanation | undefined {
    const trace = this.#recent.get(requestId);
    return trace === undefined ? undefined : { ...trace, phases: phasesOf(trace) };
  }

  useLogger(logger: Logger, options: LoggerOptions = {}): void {
    for (const level of ["info", "warn", "error"] as const) {
      if (typeof logger?.[level] !== "function") {
        throw new TypeError(`A logger needs the methods info, warn and error; \`${level}\` is missing.`);
      }
    }
    this.#logger = logger;
    this.#logsRequests = options.requests === true;
  }

  /** True when a warning was logged; else somebody else has to say it. */
  warn(message: string): boolean {
    if (this.#logger === undefined) return false;
    this.#logger.warn({}, message);
    return true;
  }

  /** @throws TypeError when metrics are in use already */
  useMetrics(registry: MetricsRegistry | undefined, options: MetricsOptions): void {
    if (this.#opening !== undefined) {
      throw new TypeError("Metrics are in use already: call useMetrics before the application starts.");
    }
    this.#wantsMetrics = true;
    this.#registry = registry;
    this.#application = options.application ?? "default";
  }

  /** Metrics are wanted, wherever they go. */
  enableMetrics(): void {
    this.#wantsMetrics = true;
  }

  /** Resolves when what was asked for is ready to count. */
  async start(): Promise<void> {
    if (this.#wantsMetrics) await this.#openMetrics();
  }

  /** Takes the application's state out of the registry; what was counted stays. */
  stop(): void {
    this.#leave?.();
    this.#leave = undefined;
    this.#opening = undefined;
    for (const watcher of this.#watchers) watcher.stopped();
    this.#watchers.clear();
  }

  watch(watcher: RequestWatcher): ApplicationView {
    this.#watchers.add(watcher);
    return {
      clock: () => this.#observed.clock(),
      snapshot: () => this.#observed.snapshot(),
      warn: (message) => this.#observed.warn(message),
      leave: () => void this.#watchers.delete(watcher),
    };
  }

  /** A request to a model has come; its trace fills in as it goes on. */
  requestStarted(trace: RequestTrace): void {
    for (const watcher of this.#watchers) watcher.started(trace);
  }

  /** A request to a model is over. */
  request(trace: RequestTrace): void {
    this.#recent.add(trace);
    for (const watcher of this.#watchers) watcher.ended(trace);
    this.#metrics?.request(this.#application, trace);
    if (this.#logsRequests) logRequest(this.#logger!, trace);
  }

  /** An HTTP request is about to be answered. Returns the answer. */
  http(request: HttpRequest, response: HttpResponse, beganMs: number): HttpResponse {
    const metrics = this.#metrics;
    if (metrics === undefined) return response;
    const { method } = request;
    const { route = "", status } = response;
    request.cancel.onEnd(() => {
      const durationMs = this.#observed.clock().now() - beganMs;
      metrics.http(this.#application, { route, method, status, durationMs });
    });
    return response;
  }

  async page(): Promise<MetricsPage> {
    const { registry } = await this.#openMetrics();
    const [own, engines] = await Promise.all([registry.metrics(), this.#observed.engineMetrics()]);
    const { contentType } = registry;
    const more = engines.length === 0 ? "" : this.#engineText(engines);
    // OpenMetrics ends with a line that says so.
    const end = own.lastIndexOf("# EOF");
    return { contentType, text: end < 0 ? own + more : own.slice(0, end) + more + own.slice(end) };
  }

  #openMetrics(): Promise<MetricSet> {
    this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  async #open(): Promise<MetricSet> {
    // Loaded here because most of the time that importing this library would take is its.
    const prom: PromClient = await import("prom-client");
    this.#registry ??= new prom.Registry() as MetricsRegistry;
    const set = metricSetOf(prom, this.#registry);
    this.#leave = set.add({ application: this.#application, snapshot: () => this.#observed.snapshot() });
    this.#metrics = set;
    return set;
  }

  #engineText(pages: readonly EngineMetricsPage[]): string {
    const { name, help } = metricDefinitions.engineMetricsUp;
    const labelled = pages.map(({ labels, text }) => ({
      labels: { application: this.#application, ...labels },
      text,
    }));
    const up = labelled.map(({ labels, text }) => sampleText(name, labels, text === undefined ? 0 : 1));
    return `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${up.join("\n")}\n${mergeMetrics(labelled)}`;
  }
}
