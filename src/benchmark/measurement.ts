/** One request that is over. Times are milliseconds from the start of the run. */
export interface Measurement {
  /** When it should have begun: latencies count from here. Without a plan, when it was sent. */
  readonly intendedMs: number;
  readonly sentMs: number;
  /** First piece of the answer; undefined: none came. */
  readonly firstTokenMs: number | undefined;
  readonly endMs: number;
  /** Milliseconds between pieces of the answer. */
  readonly gapsMs: readonly number[];
  /** As the engine counted; undefined when it did not say. */
  readonly promptTokens: number | undefined;
  /** As the engine counted, else the number of pieces. */
  readonly outputTokens: number;
  /** What went wrong, in a few words of a small set; undefined: nothing. */
  readonly error: string | undefined;
}

/** Times a request must keep to count as good. Milliseconds; undefined: any will do. */
export interface ServiceLevel {
  readonly firstTokenMs: number | undefined;
  /** Mean time between two tokens of the answer. */
  readonly interTokenMs: number | undefined;
}

/** Distribution of a time, milliseconds; all of them null when there is no value. */
export interface TimeSummary {
  readonly count: number;
  readonly mean: number | null;
  readonly p50: number | null;
  readonly p90: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
  readonly max: number | null;
}

/** What a run measured. Times of requests that succeeded. */
export interface RunSummary {
  readonly requests: number;
  readonly succeeded: number;
  /** Requests that did not, by what went wrong. */
  readonly errors: Readonly<Record<string, number>>;
  /** From the start to the end of the last request. */
  readonly tookMs: number;
  readonly requestsPerSecond: number;
  readonly outputTokensPerSecond: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** From the intended start to the first piece of the answer. */
  readonly firstToken: TimeSummary;
  /** Between two pieces, over all requests. */
  readonly interToken: TimeSummary;
  /** From the intended start to the end. */
  readonly endToEnd: TimeSummary;
  /** From the intended start until it was sent: more than a little means that this machine can't keep up. */
  readonly sendDelay: TimeSummary;
  /** Requests that kept the service level; null when none was given. */
  readonly goodput: { readonly requestsPerSecond: number; readonly share: number } | null;
}

/** Sums a run up. */
export function summarize(measurements: readonly Measurement[], level: ServiceLevel): RunSummary {
  const good = measurements.filter(({ error }) => error === undefined);
  const errors: Record<string, number> = {};
  for (const { error } of measurements) if (error !== undefined) errors[error] = (errors[error] ?? 0) + 1;
  const tookMs = measurements.reduce((latest, { endMs }) => Math.max(latest, endMs), 0);
  const perSecond = (count: number): number => (tookMs === 0 ? 0 : (count * 1000) / tookMs);
  const sum = (value: (measurement: Measurement) => number): number =>
    good.reduce((total, measurement) => total + value(measurement), 0);
  const outputTokens = sum((each) => each.outputTokens);
  const kept = good.filter((each) => keeps(each, level)).length;
  const asked = level.firstTokenMs !== undefined || level.interTokenMs !== undefined;
  return {
    requests: measurements.length,
    succeeded: good.length,
    errors,
    tookMs,
    requestsPerSecond: perSecond(good.length),
    outputTokensPerSecond: perSecond(outputTokens),
    promptTokens: sum((each) => each.promptTokens ?? 0),
    outputTokens,
    firstToken: summarizeTimes(
      good.flatMap(({ firstTokenMs, intendedMs }) =>
        firstTokenMs === undefined ? [] : [firstTokenMs - intendedMs],
      ),
    ),
    interToken: summarizeTimes(good.flatMap(({ gapsMs }) => gapsMs)),
    endToEnd: summarizeTimes(good.map(({ endMs, intendedMs }) => endMs - intendedMs)),
    sendDelay: summarizeTimes(measurements.map(({ sentMs, intendedMs }) => sentMs - intendedMs)),
    // Requests that failed are not good ones: they stay in the share.
    goodput: asked
      ? {
          requestsPerSecond: perSecond(kept),
          share: measurements.length === 0 ? 0 : kept / measurements.length,
        }
      : null,
  };
}

/** The distribution of these values. Percentiles are values that occurred (nearest rank). */
export function summarizeTimes(values: readonly number[]): TimeSummary {
  const sorted = Float64Array.from(values).sort();
  const at = (part: number): number | null =>
    sorted.length === 0 ? null : sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)]!;
  const total = sorted.reduce((sum, value) => sum + value, 0);
  return {
    count: sorted.length,
    mean: sorted.length === 0 ? null : total / sorted.length,
    p50: at(0.5),
    p90: at(0.9),
    p95: at(0.95),
    p99: at(0.99),
    max: at(1),
  };
}

function keeps(
  { firstTokenMs, intendedMs, gapsMs, outputTokens }: Measurement,
  level: ServiceLevel,
): boolean {
  if (firstTokenMs === undefined) return false;
  if (level.firstTokenMs !== undefined && firstTokenMs - intendedMs > level.firstTokenMs) return false;
  if (level.interTokenMs === undefined || gapsMs.length === 0) return true;
  // A piece may hold several tokens, as with speculative decoding.
  const gaps = Math.max(gapsMs.length, outputTokens - 1);
  return gapsMs.reduce((sum, gap) => sum + gap, 0) / gaps <= level.interTokenMs;
}
