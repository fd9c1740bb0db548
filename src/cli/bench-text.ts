import type { LoadProgress } from "../benchmark/load-run.ts";
import type { RunSummary, TimeSummary } from "../benchmark/measurement.ts";
import type { RunComparison } from "../benchmark/run-report.ts";

/** Above this, times are this machine's as much as the target's. Milliseconds. */
const sendDelayLimitMs = 10;

/** A run's result for people. */
export function summaryText(summary: RunSummary): string {
  const { requests, succeeded, errors, tookMs, goodput, sendDelay } = summary;
  const failures = Object.entries(errors).map(([error, count]) => `  ${count} failed: ${error}`);
  const lines = [
    `${succeeded} of ${requests} requests succeeded in ${(tookMs / 1000).toFixed(1)} s`,
    ...failures,
    "",
    `requests per second       ${rate(summary.requestsPerSecond)}`,
    `output tokens per second  ${rate(summary.outputTokensPerSecond)}`,
    `tokens                    ${summary.promptTokens} in prompts, ${summary.outputTokens} in answers`,
    ...(goodput === null
      ? []
      : [
          `goodput                   ${rate(goodput.requestsPerSecond)} requests per second, ${(goodput.share * 100).toFixed(1)} % of all`,
        ]),
    "",
    row("ms", ["mean", "p50", "p90", "p95", "p99", "max"]),
    timesRow("time to first token", summary.firstToken),
    timesRow("inter-token", summary.interToken),
    timesRow("end to end", summary.endToEnd),
    ...(sendDelay.p99 !== null && sendDelay.p99 > sendDelayLimitMs
      ? [
          "",
          `Requests were sent up to ${sendDelay.max!.toFixed(0)} ms after they were due (p99 ${sendDelay.p99.toFixed(0)} ms): this machine`,
          "can't keep up with the load it is to make. The times above hold that delay.",
        ]
      : []),
  ];
  return `${lines.join("\n")}\n`;
}

/** One line about a run that goes on. */
export function progressText(
  { elapsedMs, begun, inFlight, succeeded, failed }: LoadProgress,
  limits: { readonly count?: number | undefined; readonly durationMs?: number | undefined },
): string {
  const seconds = `${Math.floor(elapsedMs / 1000)} s${limits.durationMs === undefined ? "" : ` of ${limits.durationMs / 1000}`}`;
  const part =
    limits.count === undefined
      ? limits.durationMs === undefined
        ? undefined
        : elapsedMs / limits.durationMs
      : begun / limits.count;
  const conversations = `${begun}${limits.count === undefined ? "" : ` of ${limits.count}`} begun`;
  return `${part === undefined ? "" : `${bar(part)} `}${seconds} | ${conversations} | ${inFlight} running | ${succeeded} done | ${failed} failed`;
}

/** Two runs for people. */
export function comparisonText({ differingOptions, values }: RunComparison): string {
  const width = Math.max(...values.map(({ name }) => name.length));
  const number = (value: number | null): string => (value === null ? "-" : rate(value)).padStart(12);
  const lines = values.map(({ name, before, after, changePercent, better }) => {
    const change =
      changePercent === null ? "" : `${changePercent > 0 ? "+" : ""}${changePercent.toFixed(1)} %`;
    const verdict = better === null ? "" : better ? "better" : "worse";
    return `${name.padEnd(width)}${number(before)}${number(after)}${change.padStart(12)}  ${verdict}`.trimEnd();
  });
  return `${[
    ...(differingOptions.length === 0 ? [] : [`The runs differ in: ${differingOptions.join(", ")}`, ""]),
    `${"".padEnd(width)}${"before".padStart(12)}${"after".padStart(12)}${"change".padStart(12)}`,
    ...lines,
  ].join("\n")}\n`;
}

const barCells = 20;

function bar(part: number): string {
  const full = Math.round(Math.min(1, part) * barCells);
  return `[${"#".repeat(full)}${"-".repeat(barCells - full)}]`;
}

function timesRow(name: string, times: TimeSummary): string {
  const cells = [times.mean, times.p50, times.p90, times.p95, times.p99, times.max];
  return row(
    name,
    cells.map((value) => (value === null ? "-" : rate(value))),
  );
}

function row(name: string, cells: readonly string[]): string {
  return `${name.padEnd(20)}${cells.map((cell) => cell.padStart(10)).join("")}`;
}

function rate(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
