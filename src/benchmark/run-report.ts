import { ConfigurationError } from "../errors/configuration-error.ts";
import { asJsonObject } from "../protocol/engine-json.ts";
import type { RunSummary, TimeSummary } from "./measurement.ts";

/** A run on paper: what `serve-llm bench --json` writes and `serve-llm bench compare` reads. */
export interface RunReport {
  readonly format: "serve-llm bench";
  readonly version: 1;
  /** Milliseconds since 1970. */
  readonly startedWallMs: number;
  /** What was asked for, for telling runs apart. Holds no key. */
  readonly options: Readonly<Record<string, string | number | boolean>>;
  readonly summary: RunSummary;
}

/** One line of a comparison. */
export interface ComparedValue {
  readonly name: string;
  readonly before: number | null;
  readonly after: number | null;
  /** Change in percent of `before`; null when it can't be told. */
  readonly changePercent: number | null;
  /** Whether the change is for the good; null when there is none, or it can't be told. */
  readonly better: boolean | null;
}

/** Two runs side by side. */
export interface RunComparison {
  /** Options that differ: then the comparison says as much about them. */
  readonly differingOptions: readonly string[];
  readonly values: readonly ComparedValue[];
}

/** Reads a report. @param subject names it in errors @throws ConfigurationError when it is none */
export function parseRunReport(text: string, subject: string): RunReport {
  let report: Readonly<Record<string, unknown>> | undefined;
  try {
    report = asJsonObject(JSON.parse(text));
  } catch {
    report = undefined;
  }
  const summary = asJsonObject(report?.["summary"]);
  if (
    report?.["format"] === "serve-llm bench" &&
    report["version"] === 1 &&
    asJsonObject(report["options"]) !== undefined &&
    ["firstToken", "interToken", "endToEnd"].every((name) => asJsonObject(summary?.[name]) !== undefined)
  ) {
    return report as unknown as RunReport;
  }
  throw new ConfigurationError(subject, [
    {
      path: [],
      type: "value_error",
      message: "Input should be a report of serve-llm bench",
      expected: 'JSON with "format": "serve-llm bench" and "version": 1',
    },
  ]);
}

/** Compares two runs. */
export function compareRuns(before: RunReport, after: RunReport): RunComparison {
  const names = [...new Set([...Object.keys(before.options), ...Object.keys(after.options)])].sort();
  const value = (
    name: string,
    pick: (summary: RunSummary) => number | null,
    smallerIsBetter: boolean,
  ): ComparedValue => {
    const [one, other] = [pick(before.summary), pick(after.summary)];
    const known = one !== null && other !== null;
    const changePercent = known && one !== 0 ? ((other - one) / one) * 100 : null;
    const better = !known || one === other ? null : other < one === smallerIsBetter;
    return { name, before: one, after: other, changePercent, better };
  };
  const times = (name: string, pick: (summary: RunSummary) => TimeSummary): readonly ComparedValue[] =>
    (["mean", "p50", "p90", "p99"] as const).map((statistic) =>
      value(`${name} ${statistic} (ms)`, (summary) => pick(summary)[statistic], true),
    );
  return {
    differingOptions: names.filter((name) => before.options[name] !== after.options[name]),
    values: [
      value("requests per second", (summary) => summary.requestsPerSecond, false),
      value("output tokens per second", (summary) => summary.outputTokensPerSecond, false),
      value("goodput (requests per second)", (summary) => summary.goodput?.requestsPerSecond ?? null, false),
      value("failed requests", (summary) => summary.requests - summary.succeeded, true),
      ...times("first token", (summary) => summary.firstToken),
      ...times("inter-token", (summary) => summary.interToken),
      ...times("end to end", (summary) => summary.endToEnd),
    ],
  };
}
