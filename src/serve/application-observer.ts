import * as promClient from "prom-client";
import type { ApplicationSnapshot } from "../observability/application-snapshot.ts";
import { type MetricSet, metricSetOf, type MetricsRegistry } from "../observability/metric-set.ts";
import type { RequestTrace } from "../observability/request-trace.ts";
import { TraceRing } from "../observability/trace-ring.ts";
import { type EngineMetricsPage, mergeMetrics } from "../protocol/merge-metrics.ts";

const tracesKept = 1000;

/** What one application knows of its past: the last requests, and metrics when somebody wants them. */
export class ApplicationObserver {
  readonly #application: string;
  readonly #snapshot: () => ApplicationSnapshot;
  readonly #traces = new TraceRing(tracesKept);
  #metrics: MetricSet | undefined;

  constructor(application: string, snapshot: () => ApplicationSnapshot) {
    this.#application = application;
    this.#snapshot = snapshot;
  }

  /** Takes note of a request that is over. */
  observe(trace: RequestTrace): void {
    this.#traces.add(trace);
    this.#metrics?.request(this.#application, trace);
  }

  explain(requestId: string): RequestTrace | undefined {
    return this.#traces.get(requestId);
  }

  /** Counts from now on in this registry. Only the first call counts. */
  use(registry: MetricsRegistry): void {
    if (this.#metrics !== undefined) return;
    this.#metrics = metricSetOf(promClient, registry);
    this.#metrics.add({ application: this.#application, snapshot: this.#snapshot });
  }

  /** All metrics as text, those of the engines included. */
  async page(engines: readonly EngineMetricsPage[]): Promise<string> {
    this.use(new promClient.Registry());
    const own = await this.#metrics!.registry.metrics();
    return own + mergeMetrics(engines);
  }
}
