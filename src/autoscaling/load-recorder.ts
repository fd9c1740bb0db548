import type { HandleReport } from "./request-metrics.ts";
import type { TimeSeriesPoint, TimeSeries } from "./time-series.ts";

/** Requests of one deployment at one moment. */
export interface CurrentLoad {
  /** Requests that wait for a replica. */
  readonly queued: number;
  /** Requests sent and not completed, by id of every replica that runs. */
  readonly running: ReadonlyMap<string, number>;
}

/**
 * Records the load of a deployment and reports its average, as a handle of Ray does (`RouterMetricsManager`). No
 * clock of its own: every call says when.
 */
export class LoadRecorder {
  readonly #handleId: string;
  readonly #lookBackS: number;
  #queued: TimeSeriesPoint[] = [];
  readonly #running = new Map<string, TimeSeriesPoint[]>();

  /** @param lookBackPeriodS seconds for which a point counts */
  constructor(handleId: string, lookBackPeriodS: number) {
    this.#handleId = handleId;
    this.#lookBackS = lookBackPeriodS;
  }

  /** Adds a point of every gauge. */
  record(load: CurrentLoad, timestampS: number): void {
    this.#queued.push({ timestampS, value: load.queued });
    for (const [id, value] of load.running) {
      const points = this.#running.get(id) ?? [];
      points.push({ timestampS, value });
      this.#running.set(id, points);
    }
  }

  /** What this handle tells the controller. */
  report(load: CurrentLoad, timestampS: number): HandleReport {
    this.#prune(timestampS - this.#lookBackS);
    const running = new Map<string, number>();
    // Ray divides by the number of points of the queue, also for a replica that has fewer of its own.
    const points = Math.max(1, this.#queued.length);
    for (const [id, current] of load.running) {
      const series = this.#running.get(id);
      running.set(id, series === undefined ? current : total(series) / points);
    }
    return {
      handleId: this.#handleId,
      timestampS,
      queued: this.#queued.length === 0 ? load.queued : total(this.#queued) / this.#queued.length,
      running,
      queuedSeries: [...this.#queued],
      runningSeries: new Map([...this.#running].map(([id, series]) => [id, [...series]])),
    };
  }

  #prune(sinceS: number): void {
    const isRecent = ({ timestampS }: TimeSeriesPoint): boolean => timestampS >= sinceS;
    this.#queued = this.#queued.filter(isRecent);
    for (const [id, points] of this.#running) {
      const recent = points.filter(isRecent);
      if (recent.length === 0) this.#running.delete(id);
      else this.#running.set(id, recent);
    }
  }
}

function total(series: TimeSeries): number {
  return series.reduce((sum, { value }) => sum + value, 0);
}
