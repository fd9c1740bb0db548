import type { AggregationFunction, AutoscalingConfig } from "../config/autoscaling-config.ts";
import { aggregateLoad } from "./time-series.ts";
import type { TimeSeries } from "./time-series.ts";

/** What one handle last told about its requests for one deployment. Ray's `HandleMetricReport`. */
export interface HandleReport {
  readonly handleId: string;
  /** Seconds; a report no newer than the kept one is ignored. */
  readonly timestampS: number;
  /** Who owns the handle, if its end is noticed; reports of an ended owner are dropped. */
  readonly ownerId?: string | undefined;
  /** Average number of requests waiting for a replica. */
  readonly queued: number;
  /** Average number of requests sent and not completed, by replica. */
  readonly running: ReadonlyMap<string, number>;
  /** The points behind `queued`; used when points are merged. */
  readonly queuedSeries?: TimeSeries | undefined;
  /** The points behind `running`; used when points are merged. */
  readonly runningSeries?: ReadonlyMap<string, TimeSeries> | undefined;
}

/** What one replica last told about its requests. Ray's `ReplicaMetricReport`. */
export interface ReplicaReport {
  readonly replicaId: string;
  /** Seconds; a report no newer than the kept one is ignored. */
  readonly timestampS: number;
  /** Average number of requests it works on. */
  readonly running: number;
  /** The points behind `running`; used when points are merged. */
  readonly runningSeries?: TimeSeries | undefined;
}

/** The load of a deployment, in requests. */
export interface RequestLoad {
  /** Queued and running. Ray's `total_num_requests`. */
  readonly total: number;
  readonly queued: number;
}

/**
 * How reports become one number. `averages` adds what each reporter averaged (Ray 2.58's default);
 * `series` merges the points and applies `aggregationFunction`
 * (Ray's `RAY_SERVE_AGGREGATE_METRICS_AT_CONTROLLER=1`, the default of later versions).
 */
export type LoadAggregation = "averages" | "series";

// Ray's RAY_SERVE_MIN_HANDLE_METRICS_TIMEOUT_S.
const minReportTimeoutS = 10;

/** The newest report of every handle and replica of one deployment. No clock of its own: every call says when. */
export class RequestMetrics {
  readonly #handles = new Map<string, HandleReport>();
  readonly #replicas = new Map<string, ReplicaReport>();

  /** Handles with a report that still counts. */
  get handleIds(): readonly string[] {
    return [...this.#handles.keys()];
  }

  /** Keeps a handle's report if it is newer than the one kept. Ray's `record_request_metrics_for_handle`. */
  recordHandle(report: HandleReport): void {
    const known = this.#handles.get(report.handleId);
    if (known === undefined || report.timestampS > known.timestampS) {
      this.#handles.set(report.handleId, report);
    }
  }

  /** Keeps a replica's report if it is newer than the one kept. Ray's `record_request_metrics_for_replica`. */
  recordReplica(report: ReplicaReport): void {
    const known = this.#replicas.get(report.replicaId);
    if (known === undefined || report.timestampS > known.timestampS) {
      this.#replicas.set(report.replicaId, report);
    }
  }

  /** Forgets a replica that stopped. */
  forgetReplica(replicaId: string): void {
    this.#replicas.delete(replicaId);
  }

  /**
   * Forgets handles that fell silent for `max(2 * metricsIntervalS, 10)` seconds or whose owner ended: their
   * last load would otherwise count for ever.
   */
  dropStale(
    config: Pick<AutoscalingConfig, "metricsIntervalS">,
    nowS: number,
    isOwnerAlive: (ownerId: string) => boolean = () => true,
  ): void {
    const timeoutS = Math.max(2 * config.metricsIntervalS, minReportTimeoutS);
    for (const [id, report] of this.#handles) {
      const ended = report.ownerId !== undefined && !isOwnerAlive(report.ownerId);
      if (ended || nowS - report.timestampS >= timeoutS) this.#handles.delete(id);
    }
  }

  /** The load now. Only `runningReplicaIds` count; what replicas say of themselves wins over what handles say. */
  load(options: {
    readonly runningReplicaIds: readonly string[];
    readonly aggregation: LoadAggregation;
    readonly aggregationFunction: AggregationFunction;
    readonly nowS: number;
  }): RequestLoad {
    const { runningReplicaIds } = options;
    return options.aggregation === "averages"
      ? this.#averagedLoad(runningReplicaIds)
      : this.#mergedLoad(runningReplicaIds, options.aggregationFunction, options.nowS);
  }

  #averagedLoad(runningReplicaIds: readonly string[]): RequestLoad {
    const onReplicas = sum(runningReplicaIds.map((id) => this.#replicas.get(id)?.running ?? 0));
    let total = onReplicas;
    let queued = 0;
    for (const handle of this.#handles.values()) {
      queued += handle.queued;
      total += handle.queued;
      if (onReplicas > 0) continue;
      for (const id of runningReplicaIds) total += handle.running.get(id) ?? 0;
    }
    return { total, queued };
  }

  #mergedLoad(
    runningReplicaIds: readonly string[],
    aggregationFunction: AggregationFunction,
    nowS: number,
  ): RequestLoad {
    const handles = [...this.#handles.values()];
    const queued = handles.map((handle) => handle.queuedSeries ?? []);
    const fromReplicas = runningReplicaIds.flatMap((id) => {
      const series = this.#replicas.get(id)?.runningSeries;
      return series === undefined ? [] : [series];
    });
    const running =
      fromReplicas.length > 0
        ? fromReplicas
        : handles.flatMap((handle) => runningReplicaIds.map((id) => handle.runningSeries?.get(id) ?? []));
    return {
      total: aggregateLoad([...running, ...queued], aggregationFunction, nowS),
      queued: aggregateLoad(queued, aggregationFunction, nowS),
    };
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
