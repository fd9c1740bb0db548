import type * as promClient from "prom-client";
import type { Counter, Gauge, Histogram, Registry, RegistryContentType } from "prom-client";
import type { ApplicationSnapshot } from "./application-snapshot.ts";
import { errorCodeLabel } from "./error-code-label.ts";
import { type MetricDefinition, metricDefinitions, type MetricKey } from "./metric-definitions.ts";
import { phasesOf } from "./request-phases.ts";
import type { LegTrace, RequestTrace } from "./request-trace.ts";
import { type Sample, snapshotSamples } from "./snapshot-samples.ts";

/** A `prom-client` registry of the user's. */
export type MetricsRegistry = Registry<RegistryContentType>;

/** Metrics ready to be served. */
export interface MetricsPage {
  readonly contentType: string;
  readonly text: string;
}

/** The parts of `prom-client` that metrics are made of; it is loaded when somebody wants metrics. */
export type PromClient = Pick<typeof promClient, "Counter" | "Gauge" | "Histogram" | "Registry">;

/** An application whose metrics are in a set. */
export interface MetricSource {
  /** Label of all its metrics. */
  readonly application: string;
  /** Its state now. */
  snapshot(): ApplicationSnapshot;
}

/** One HTTP request that was answered. */
export interface HttpObservation {
  /** Route as declared; empty when there is none. */
  readonly route: string;
  readonly method: string;
  readonly status: number;
  readonly durationMs: number;
}

type Labels = Record<string, string>;
type AnyMetric = Counter | Gauge | Histogram;

/** Metrics that are read from the state of applications. */
const stateKeys: ReadonlySet<MetricKey> = new Set<MetricKey>([
  ...(Object.entries(metricDefinitions) as [MetricKey, MetricDefinition][])
    .filter(([, { kind }]) => kind === "gauge")
    .map(([key]) => key),
  "ejections",
  "holdsEnded",
]);

const sets = new WeakMap<MetricsRegistry, MetricSet>();
const methods: ReadonlySet<string> = new Set(["GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"]);

/** The set of a registry: the same one for all applications that share it. */
export function metricSetOf(prom: PromClient, registry: MetricsRegistry): MetricSet {
  const known = sets.get(registry);
  if (known !== undefined) return known;
  const set = new MetricSet(prom, registry);
  sets.set(registry, set);
  return set;
}

/** The metrics of one registry. Requests are counted as they end; the rest is read when the registry is. */
export class MetricSet {
  readonly registry: MetricsRegistry;
  readonly #metrics = new Map<MetricKey, AnyMetric>();
  readonly #sources = new Set<MetricSource>();
  /** What was counted for each replica, so that it can go when the replica is gone. */
  readonly #ofReplicas = new Map<string, Map<string, () => void>>();
  #read: ReadonlyMap<MetricKey, readonly Sample[]> | undefined;

  constructor(prom: PromClient, registry: MetricsRegistry) {
    this.registry = registry;
    const read = this.#valuesOf.bind(this);
    for (const [key, definition] of Object.entries(metricDefinitions) as [MetricKey, MetricDefinition][]) {
      // The engines' own metrics are asked for when a page is made, not when a registry is read.
      if (key === "engineMetricsUp") continue;
      const { name, kind, help, labels } = definition;
      const options = { name, help, labelNames: ["application", ...labels], registers: [registry] };
      if (kind === "histogram") {
        this.#metrics.set(key, new prom.Histogram({ ...options, buckets: [...(definition.buckets ?? [])] }));
      } else if (!stateKeys.has(key)) {
        this.#metrics.set(key, new prom.Counter(options));
      } else if (kind === "counter") {
        const counter: Counter = new prom.Counter({
          ...options,
          collect(): void {
            this.reset();
            for (const { labels: own, value } of read(key)) this.inc(own, value);
          },
        });
        this.#metrics.set(key, counter);
      } else {
        const gauge: Gauge = new prom.Gauge({
          ...options,
          collect(): void {
            this.reset();
            for (const { labels: own, value } of read(key)) this.set(own, value);
          },
        });
        this.#metrics.set(key, gauge);
      }
    }
  }

  /**
   * Adds an application; returns how to take it out.
   *
   * @throws TypeError when another application of this name is in the registry
   */
  add(source: MetricSource): () => void {
    for (const { application } of this.#sources) {
      if (application === source.application) {
        throw new TypeError(
          `Another application called "${application}" has its metrics in this registry; give useMetrics another \`application\`.`,
        );
      }
    }
    this.#sources.add(source);
    return () => this.#sources.delete(source);
  }

  /** Counts a request to a model that is over. */
  request(application: string, trace: RequestTrace): void {
    const { deployment, mode, outcome, usage } = trace;
    const own = { application, deployment };
    const errorCode = errorCodeLabel(trace.errorCode);
    this.#count("requests", {
      ...own,
      method: trace.method,
      mode,
      outcome: outcome ?? "",
      error_code: errorCode,
    });
    if (mode === "decode-only" && trace.reason !== undefined) {
      this.#count("decodeOnly", { ...own, reason: trace.reason });
    }
    for (const { leg, errorCode } of trace.retryCauses) {
      this.#count("retries", { ...own, leg, error_code: errorCodeLabel(errorCode) });
    }
    if (usage !== undefined) {
      this.#count("promptTokens", own, usage.promptTokens);
      this.#count("completionTokens", own, usage.completionTokens);
      if (usage.cachedTokens !== undefined) this.#count("cachedTokens", own, usage.cachedTokens);
    }
    this.#phases({ ...own, mode }, trace);
    for (const leg of trace.legs) this.#leg(own, leg);
  }

  /** Counts an HTTP request that was answered. */
  http(application: string, { route, method, status, durationMs }: HttpObservation): void {
    const known = methods.has(method) ? method : "other";
    const labels = { application, route, method: known, status_code: String(status) };
    this.#count("httpRequests", labels);
    if (status >= 400) {
      this.#count("httpErrors", { application, route, method: known, error_code: String(status) });
    }
    this.#observe("httpLatency", labels, durationMs);
  }

  #phases(labels: Labels, trace: RequestTrace): void {
    const phases = phasesOf(trace);
    this.#observe("queue", labels, phases.queueMs / 1000);
    this.#step("prefill", labels, phases.prefillMs);
    this.#step("handoff", labels, phases.handoffMs);
    if (trace.stream) this.#step("decodeFirstToken", labels, phases.decodeFirstTokenMs);
    this.#step("timeToFirstToken", labels, phases.timeToFirstTokenMs);
    this.#step("interToken", labels, phases.interTokenMs);
    this.#observe("total", { ...labels, outcome: trace.outcome ?? "" }, phases.totalMs / 1000);
  }

  #leg({ application, deployment: proxy }: Labels, leg: LegTrace): void {
    const { deployment, replica, failure, clientFault, sentMs, endMs } = leg;
    const own = { application: application!, deployment };
    if (failure === undefined || clientFault) {
      this.#countReplica("deploymentRequests", { ...own, replica });
    } else if (failure !== "client_closed_request") {
      const code = errorCodeLabel(failure);
      this.#count("legFailures", {
        application: application!,
        deployment: proxy!,
        leg: leg.leg,
        error_code: code,
      });
      this.#countReplica("deploymentErrors", { ...own, replica, exception_type: code });
    }
    if (endMs !== undefined) this.#observe("deploymentLatency", own, endMs - sentMs);
  }

  #step(key: MetricKey, labels: Labels, ms: number | undefined): void {
    if (ms !== undefined) this.#observe(key, labels, ms / 1000);
  }

  #count(key: MetricKey, labels: Labels, by = 1): void {
    (this.#metrics.get(key) as Counter).inc(labels, by);
  }

  #countReplica(key: MetricKey, labels: Labels): void {
    this.#count(key, labels);
    const replica = replicaKey(labels);
    let series = this.#ofReplicas.get(replica);
    if (series === undefined) this.#ofReplicas.set(replica, (series = new Map()));
    const name = `${key} ${labels["exception_type"] ?? ""}`;
    if (!series.has(name)) series.set(name, () => (this.#metrics.get(key) as Counter).remove(labels));
  }

  #observe(key: MetricKey, labels: Labels, value: number): void {
    (this.#metrics.get(key) as Histogram).observe(labels, value);
  }

  /** All metrics of a registry are collected in one go; the applications are looked at once for all of them. */
  #valuesOf(key: MetricKey): readonly Sample[] {
    if (this.#read === undefined) {
      this.#read = this.#readSources();
      queueMicrotask(() => {
        this.#read = undefined;
      });
    }
    return this.#read.get(key) ?? [];
  }

  #readSources(): ReadonlyMap<MetricKey, readonly Sample[]> {
    const all = new Map<MetricKey, Sample[]>();
    const present = new Set<string>();
    for (const source of this.#sources) {
      const { application } = source;
      for (const [key, samples] of snapshotSamples(source.snapshot())) {
        let known = all.get(key);
        if (known === undefined) all.set(key, (known = []));
        for (const { labels, value } of samples) {
          const own = { application, ...labels };
          known.push({ labels: own, value });
          if (key === "replicaOngoing") present.add(replicaKey(own));
        }
      }
    }
    this.#forgetReplicas(present);
    return all;
  }

  /** A pool that comes and goes must not leave series behind for ever. */
  #forgetReplicas(present: ReadonlySet<string>): void {
    for (const [replica, series] of this.#ofReplicas) {
      if (present.has(replica)) continue;
      for (const remove of series.values()) remove();
      this.#ofReplicas.delete(replica);
    }
  }
}

function replicaKey({ application, deployment, replica }: Labels): string {
  return JSON.stringify([application, deployment, replica]);
}
