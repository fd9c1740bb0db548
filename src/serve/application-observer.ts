import type { HttpRequest, HttpResponse } from "../adapters/http-exchange.ts";
import type { Clock } from "../internal/clock.ts";
import type { ApplicationSnapshot } from "../observability/application-snapshot.ts";
import { type Logger, type LoggerOptions, logRequest } from "../observability/logger.ts";
import { metricDefinitions } from "../observability/metric-definitions.ts";
import { metricSetOf, type MetricSet, type MetricsRegistry, type PromClient } from "../observability/metric-set.ts";
import type { MetricsPage } from "../observability/metrics-page.ts";
import { phasesOf, type RequestPhases } from "../observability/request-phases.ts";
import type { RequestTrace } from "../observability/request-trace.ts";
import { TraceRing } from "../observability/trace-ring.ts";
import { type EngineMetricsPage, mergeMetrics, sampleText } from "../protocol/merge-metrics.ts";

/** Where metrics go. */
export interface MetricsOptions {
  /** A `prom-client` registry of yours. @default one of the application's own */
  readonly registry?: MetricsRegistry | undefined;
  /** Value of the label `application`, unique within the registry. @default "default", as Ray's application name */
  readonly application?: string | undefined;
}

/** The whole story of a request: its trace, and the times of its steps. */
export type RequestExplanation = RequestTrace & { readonly phases: RequestPhases };

/** What an {@link ApplicationObserver} asks of its application. */
export interface Observed {
  snapshot(): ApplicationSnapshot;
  /** Pages of all engines whose deployments pass them on. */
  engineMetrics(): Promise<readonly EngineMetricsPage[]>;
}

const defaultTraces = 1000;

/** Keeps account of one application's requests: recent ones, metrics, log lines. */
export class ApplicationObserver {
  readonly #observed: Observed;
  #recent = new TraceRing(defaultTraces);
  #metricsOptions: MetricsOptions | undefined;
  #opening: Promise<MetricSet> | undefined;
  #metrics: MetricSet | undefined;
  #leave: (() => void) | undefined;
  #logger: Logger | undefined;
  #logsRequests = false;

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
  useMetrics(options: MetricsOptions): void {
    if (this.#opening !== undefined) {
      throw new TypeError("Metrics are in use already: call useMetrics before the application starts.");
    }
    this.#metricsOptions = options;
  }

  /** Metrics are wanted, wherever they go. */
  enableMetrics(): void {
    this.#metricsOptions ??= {};
  }

  /** Resolves when what was asked for is ready to count. */
  async start(): Promise<void> {
    if (this.#metricsOptions !== undefined) await this.#openMetrics();
  }

  /** Takes the application's state out of the registry; what was counted stays. */
  stop(): void {
    this.#leave?.();
    this.#leave = undefined;
    this.#opening = undefined;
  }

  /** A request to a model is over. */
  request(trace: RequestTrace): void {
    this.#recent.add(trace);
    this.#metrics?.request(this.#application, trace);
    if (this.#logsRequests) logRequest(this.#logger!, trace);
  }

  /** An HTTP request is about to be answered. */
  http(request: HttpRequest, response: HttpResponse, clock: Clock, beganMs: number): void {
    const metrics = this.#metrics;
    if (metrics === undefined) return;
    const { method } = request;
    const { route = "", status } = response;
    request.cancel.onEnd(() => {
      metrics.http(this.#application, { route, method, status, durationMs: clock.now() - beganMs });
    });
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

  get #application(): string {
    return this.#metricsOptions?.application ?? "default";
  }

  #openMetrics(): Promise<MetricSet> {
    this.#metricsOptions ??= {};
    this.#opening ??= this.#open(this.#metricsOptions).catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  async #open({ registry }: MetricsOptions): Promise<MetricSet> {
    // Loaded here because most of the time that importing this library would take is its.
    const prom = (await import("prom-client")) as PromClient;
    const set = this.#metrics ?? metricSetOf(prom, registry ?? new prom.Registry());
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
