import type { Ratio, WorkloadResult } from "./result.ts";
import { spreadOf } from "./statistics.ts";

/** The machine, versions and mode of a run, in the order they are told. */
export type RunFacts = Readonly<Record<string, string | number | boolean | null>>;

/** All that a run found. */
export interface RunReport {
  readonly facts: RunFacts;
  /** By workload name. */
  readonly workloads: ReadonlyMap<string, WorkloadResult>;
  /** Workloads that could not be measured, and why. */
  readonly failures: ReadonlyMap<string, string>;
}

/** How a ratio stands to its limits. */
export type Verdict = "goal" | "must" | "missed" | "not judged";

export function verdictOf({ values, limits }: Ratio): Verdict {
  if (limits === undefined) return "not judged";
  const { median } = spreadOf(values);
  if (median <= limits.goal) return "goal";
  return median <= limits.must ? "must" : "missed";
}

/** Ratios that miss what they must reach. */
export function missedOf(report: RunReport): Ratio[] {
  return ratiosOf(report).filter((ratio) => verdictOf(ratio) === "missed");
}

/** The report as one JSON document. */
export function toJson(report: RunReport): string {
  const ratios = ratiosOf(report);
  const round = (value: number): number => Number(value.toPrecision(4));
  const roundAll = <Key extends string>(values: Readonly<Record<Key, number>>): Record<string, number> =>
    Object.fromEntries(Object.entries<number>(values).map(([key, value]) => [key, round(value)]));
  return JSON.stringify(
    {
      ...report.facts,
      ratios: Object.fromEntries(ratios.map(({ key, values }) => [key, round(spreadOf(values).median)])),
      ratioDetails: Object.fromEntries(
        ratios.map((ratio) => [
          ratio.key,
          {
            title: ratio.title,
            unit: ratio.unit,
            ...roundAll({ ...spreadOf(ratio.values) }),
            pairs: ratio.values.length,
            ...ratio.limits,
            verdict: verdictOf(ratio),
          },
        ]),
      ),
      workloads: Object.fromEntries(
        [...report.workloads].map(([name, { title, measurements, notes }]) => [
          name,
          {
            title,
            notes,
            measurements: measurements.map(({ what, variant, unit, values }) => ({
              what,
              variant,
              unit,
              ...roundAll({ ...spreadOf(values) }),
              rounds: values.length,
            })),
          },
        ]),
      ),
      failures: Object.fromEntries(report.failures),
    },
    null,
    2,
  );
}

/** The report as tables, plain or in Markdown. */
export function toTables(report: RunReport, style: "text" | "markdown"): string {
  const table = style === "text" ? textTable : markdownTable;
  const heading = (text: string): string => (style === "text" ? `\n${text}\n` : `\n## ${text}\n`);
  const parts: string[] = [];
  if (style === "markdown")
    parts.push(
      "# Results\n\nMade by `npm run bench -- --markdown`; [README.md](README.md) says how to read it.\n",
    );
  parts.push(
    table(
      ["", ""],
      Object.entries(report.facts).map(([name, value]) => [name, String(value)]),
    ),
  );
  const ratios = ratiosOf(report);
  if (ratios.length > 0) {
    parts.push(heading("Ratios (median of pairs)"));
    parts.push(
      table(
        ["ratio", "median", "min - max", "goal", "must", ""],
        ratios.map((ratio) => {
          const { median, min, max } = spreadOf(ratio.values);
          const unit = ratio.unit === "x" ? "x" : ` ${ratio.unit}`;
          const { goal, must } = ratio.limits ?? {};
          const verdict = verdictOf(ratio);
          return [
            ratio.title,
            `${show(median)}${unit}`,
            `${show(min)} - ${show(max)}`,
            goal === undefined ? "" : `<= ${goal}`,
            must === undefined ? "" : `<= ${must}`,
            verdict === "not judged" ? "" : verdictText[verdict],
          ];
        }),
      ),
    );
  }
  for (const { title, measurements, notes } of report.workloads.values()) {
    parts.push(heading(title));
    parts.push(
      table(
        ["measured", "variant", "median", "min - max", ""],
        measurements.map(({ what, variant, unit, values }) => {
          const { median, min, max } = spreadOf(values);
          return [
            what,
            variant,
            show(median),
            values.length === 1 ? "" : `${show(min)} - ${show(max)}`,
            unit,
          ];
        }),
      ),
    );
    for (const note of notes) parts.push(`\n${note}\n`);
  }
  for (const [name, reason] of report.failures) parts.push(`\n${name} could not be measured: ${reason}\n`);
  return parts.join("");
}

const verdictText = { goal: "reached", must: "within the must", missed: "MISSED" } as const;

function ratiosOf(report: RunReport): Ratio[] {
  const ratios = [...report.workloads.values()].flatMap((result) => result.ratios);
  // Those with limits are what one looks for.
  return [
    ...ratios.filter(({ limits }) => limits !== undefined),
    ...ratios.filter(({ limits }) => limits === undefined),
  ];
}

function show(value: number): string {
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return value.toFixed(0);
  return size >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function textTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = header.some((cell) => cell !== "") ? [header, ...rows] : rows;
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  const isText = (column: number): boolean =>
    column === 0 || rows.some((row) => /^[a-z(]/i.test(row[column]!));
  return all
    .map((row) => {
      const cells = row.map((cell, column) =>
        isText(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      );
      return `  ${cells.join("  ").trimEnd()}\n`;
    })
    .join("");
}

function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |\n`;
  return `\n${line(header)}${line(header.map(() => "---"))}${rows.map(line).join("")}`;
}
