import type { AggregationFunction } from "../config/autoscaling-config.ts";

/** A value from `timestampS` (seconds) until the next point. */
export interface TimeSeriesPoint {
  readonly timestampS: number;
  readonly value: number;
}

/** Points of one gauge, oldest first. Between two points the earlier value holds. */
export type TimeSeries = readonly TimeSeriesPoint[];

/**
 * The sum of several gauges over time. Times are rounded to 10 ms and only the last sum of each is kept; points
 * that change nothing are left out. A single series comes back as it is. Ray's `merge_instantaneous_total`.
 */
export function mergeTimeSeries(series: readonly TimeSeries[]): TimeSeries {
  const active = series.filter((points) => points.length > 0);
  if (active.length <= 1) return active[0] ?? [];

  const events = active
    .flatMap((points, index) => points.map((point) => ({ ...point, index })))
    .sort((a, b) => a.timestampS - b.timestampS || a.index - b.index);
  const currentValues = active.map(() => 0);
  const merged: TimeSeriesPoint[] = [];
  let total = 0;
  for (const { timestampS, value, index } of events) {
    const previous = currentValues[index] ?? 0;
    if (value === previous) continue;
    currentValues[index] = value;
    total += value - previous;
    const rounded = roundToHundredth(timestampS);
    if (merged.at(-1)?.timestampS === rounded) merged.pop();
    merged.push({ timestampS: rounded, value: total });
  }
  return merged;
}

/**
 * One number for a series: the time-weighted mean, or the greatest or least point.
 * `undefined` when no point or no time lies in the window. Ray's `aggregate_timeseries`.
 *
 * @param options.lastWindowS seconds the last point is taken to hold
 * @param options.windowStartS where the window begins; default: the first point
 */
export function aggregateTimeSeries(
  series: TimeSeries,
  aggregation: AggregationFunction,
  options: { readonly lastWindowS: number; readonly windowStartS?: number | null | undefined },
): number | undefined {
  const first = series[0];
  const last = series.at(-1);
  if (first === undefined || last === undefined) return undefined;
  const startS = options.windowStartS ?? first.timestampS;
  if (aggregation === "mean") return weightedMean(series, startS, last.timestampS + options.lastWindowS);

  const values = series.filter((point) => point.timestampS >= startS).map((point) => point.value);
  if (values.length === 0) return undefined;
  const pick = aggregation === "max" ? Math.max : Math.min;
  return values.reduce((a, b) => pick(a, b));
}

/**
 * The load that several gauges amount to at `nowS`: merged, then aggregated from where all of them are known
 * until now. 0 when there is no point at all.
 */
export function aggregateLoad(
  series: readonly TimeSeries[],
  aggregation: AggregationFunction,
  nowS: number,
): number {
  const merged = mergeTimeSeries(series);
  const last = merged.at(-1);
  if (last === undefined) return 0;
  // Clocks of other machines may be ahead; the last point still needs some weight.
  const elapsedS = nowS - last.timestampS;
  const lastWindowS = elapsedS > 0 ? elapsedS : 1e-3;
  return (
    aggregateTimeSeries(merged, aggregation, { lastWindowS, windowStartS: commonStart(series, merged) }) ?? 0
  );
}

/** Where every series has begun: before that the sum is too small. `undefined` when the question is moot. */
function commonStart(series: readonly TimeSeries[], merged: TimeSeries): number | undefined {
  const starts = series.flatMap((points) => (points[0] === undefined ? [] : [points[0].timestampS]));
  const [first, last] = [merged[0], merged.at(-1)];
  if (starts.length < 2 || first === undefined || last === undefined) return undefined;
  const start = starts.reduce((a, b) => Math.max(a, b));
  return start <= last.timestampS ? Math.max(start, first.timestampS) : undefined;
}

function weightedMean(series: TimeSeries, startS: number, endS: number): number | undefined {
  if (endS <= startS) return undefined;
  let weighted = 0;
  let durationS = 0;
  let value = 0;
  let atS = startS;
  for (const point of series) {
    if (point.timestampS > startS) {
      if (point.timestampS >= endS) break;
      weighted += value * (point.timestampS - atS);
      durationS += point.timestampS - atS;
      atS = point.timestampS;
    }
    value = point.value;
  }
  weighted += value * (endS - atS);
  durationS += endS - atS;
  return durationS > 0 ? weighted / durationS : 0;
}

/** Rounds to 0.01 as Python's `round(x, 2)` does: exact, and exact halves to even. */
function roundToHundredth(value: number): number {
  const eighths = value * 8;
  const exactHalf = Number.isInteger(eighths) && eighths % 2 !== 0;
  if (!exactHalf) return Number(value.toFixed(2));
  const below = Math.floor(value * 100);
  return (below % 2 === 0 ? below : below + 1) / 100;
}
