import { phasesOf } from "../observability/request-phases.ts";
import type { RequestTrace } from "../observability/request-trace.ts";
import { LatencySketch } from "./latency-sketch.ts";
import type { SummaryPart, TrafficPoint } from "./page-message.ts";
import { isRefused } from "./request-row.ts";

/** Milliseconds that one point stands for. */
export const pointMs = 2_000;
/** Points that are kept: ten minutes. */
export const maxPoints = 300;
const summaryMs = 60_000;

/** The requests that ended within one interval. */
interface Interval {
  /** Which interval, counted from 1970. */
  readonly number: number;
  succeeded: number;
  failed: number;
  cancelled: number;
  refused: number;
  disaggregated: number;
  decodeOnly: number;
  completionTokens: number;
  readonly timeToFirstToken: LatencySketch;
  readonly interToken: LatencySketch;
}

/** Rates and latencies of the last ten minutes. Costs the same however many requests there are; has no timer. */
export class TrafficHistory {
  readonly #since: number;
  /** Oldest first; intervals without a request have no entry. */
  #intervals: Interval[] = [];

  /** @param nowMs milliseconds since 1970 at which it begins to count */
  constructor(nowMs: number) {
    this.#since = nowMs;
  }

  /** Counts a request that is over. */
  add(trace: RequestTrace, nowMs: number): void {
    const interval = this.#intervalAt(nowMs);
    if (trace.outcome === "success") interval.succeeded += 1;
    else if (trace.outcome === "cancelled") interval.cancelled += 1;
    else if (isRefused(trace)) interval.refused += 1;
    else interval.failed += 1;
    if (trace.mode === "pd") interval.disaggregated += 1;
    else if (trace.mode === "decode-only") interval.decodeOnly += 1;
    interval.completionTokens += trace.usage?.completionTokens ?? trace.events ?? 0;
    const { timeToFirstTokenMs, interTokenMs } = phasesOf(trace);
    if (timeToFirstTokenMs !== undefined) interval.timeToFirstToken.add(timeToFirstTokenMs);
    if (interTokenMs !== undefined) interval.interToken.add(interTokenMs);
  }

  /** One point for each interval that ended after `sinceMs` and has begun by `nowMs`, requests or not; oldest first. */
  points(sinceMs: number, nowMs: number): readonly TrafficPoint[] {
    const last = Math.floor(nowMs / pointMs);
    const first = Math.max(last - maxPoints + 1, Math.floor(Math.max(sinceMs, this.#since) / pointMs));
    const known = new Map(this.#intervals.map((interval) => [interval.number, interval]));
    const points: TrafficPoint[] = [];
    for (let number = first; number <= last; number += 1) points.push(pointOf(number, known.get(number)));
    return points;
  }

  /** The last minute, or the time since it began to count when that is less. */
  summary(nowMs: number): SummaryPart {
    const from = Math.floor((nowMs - summaryMs) / pointMs) + 1;
    const recent = this.#intervals.filter(({ number }) => number >= from);
    const sum = (of: (interval: Interval) => number): number =>
      recent.reduce((total, interval) => total + of(interval), 0);
    const failed = sum((interval) => interval.failed);
    const requests = failed + sum((interval) => interval.succeeded + interval.cancelled + interval.refused);
    const decodeOnly = sum((interval) => interval.decodeOnly);
    const split = decodeOnly + sum((interval) => interval.disaggregated);
    const timeToFirstToken = new LatencySketch();
    const interToken = new LatencySketch();
    for (const interval of recent) {
      timeToFirstToken.merge(interval.timeToFirstToken);
      interToken.merge(interval.interToken);
    }
    const covered = Math.max(Math.min(nowMs - from * pointMs, nowMs - this.#since), pointMs) / 1000;
    return {
      kind: "summary",
      requestsPerSecond: rounded(requests / covered),
      tokensPerSecond: rounded(sum((interval) => interval.completionTokens) / covered),
      requests,
      errorShare: requests === 0 ? null : rounded(failed / requests),
      decodeOnlyShare: split === 0 ? null : rounded(decodeOnly / split),
      timeToFirstTokenMs: timeToFirstToken.quantiles(),
      interTokenMs: interToken.quantiles(),
    };
  }

  #intervalAt(nowMs: number): Interval {
    const number = Math.floor(nowMs / pointMs);
    const last = this.#intervals.at(-1);
    // Wall clocks are set back at times; what ends then counts as now.
    if (last !== undefined && last.number >= number) return last;
    const interval: Interval = {
      number,
      succeeded: 0,
      failed: 0,
      cancelled: 0,
      refused: 0,
      disaggregated: 0,
      decodeOnly: 0,
      completionTokens: 0,
      timeToFirstToken: new LatencySketch(),
      interToken: new LatencySketch(),
    };
    this.#intervals.push(interval);
    if (this.#intervals.length > maxPoints) this.#intervals.shift();
    return interval;
  }
}

function pointOf(number: number, interval: Interval | undefined): TrafficPoint {
  return {
    at: number * pointMs,
    succeeded: interval?.succeeded ?? 0,
    failed: interval?.failed ?? 0,
    cancelled: interval?.cancelled ?? 0,
    refused: interval?.refused ?? 0,
    disaggregated: interval?.disaggregated ?? 0,
    decodeOnly: interval?.decodeOnly ?? 0,
    completionTokens: interval?.completionTokens ?? 0,
    timeToFirstTokenMs: interval?.timeToFirstToken.quantiles() ?? null,
    interTokenMs: interval?.interToken.quantiles() ?? null,
  };
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
