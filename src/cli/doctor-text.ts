import type { DoctorReport } from "../doctor/examine.ts";
import type { PairRecord } from "../doctor/examine-pair.ts";
import type { Finding, Severity } from "../doctor/finding.ts";

const marks: Readonly<Record<Severity, string>> = { ok: "✓", warning: "!", problem: "✗" };

/** A report for people: what is about one engine under its name, then the rest, then the times of each pair. */
export function reportText(report: DoctorReport, options: { readonly quiet: boolean }): string {
  const { findings, modelId, connector, pairs } = report;
  const shown = findings.filter(({ severity }) => !options.quiet || severity !== "ok");
  const groups = new Map<string, Finding[]>();
  for (const finding of shown) {
    const title = titleOf(finding);
    const group = groups.get(title);
    if (group === undefined) groups.set(title, [finding]);
    else group.push(finding);
  }
  const lines = [`${modelId ?? "No common model"}, ${connector}`, ""];
  for (const [title, group] of groups) {
    lines.push(title, ...group.flatMap(findingLines), "");
  }
  for (const pair of pairs) lines.push(...pairLines(pair), "");
  return `${lines.join("\n")}\n`;
}

/** How many problems and warnings there are. */
export function countsText({ problems, warnings }: DoctorReport): string {
  const many = (count: number, word: string): string =>
    `${count === 0 ? "no" : count} ${word}${count === 1 ? "" : "s"}`;
  const text = `${many(problems, "problem")}, ${many(warnings, "warning")}`;
  return `${text[0]!.toUpperCase()}${text.slice(1)}`;
}

function titleOf({ side, engines }: Finding): string {
  const names = engines.join(" and ");
  if (names === "") return side === undefined ? "Both sides" : `The ${side} side`;
  return side === undefined ? names : `${side} ${names}`;
}

function findingLines({ check, severity, seen, advice }: Finding): string[] {
  return [
    `  ${marks[severity]} ${check.padEnd(18)} ${seen}`,
    ...(advice === undefined ? [] : [`    ${" ".repeat(18)} → ${advice}`]),
  ];
}

function pairLines({ prefill, decode, times }: PairRecord): string[] {
  const parts = [
    ["prefill", times.prefillMs],
    ["handoff", times.handoffMs],
    ["decode to first token", times.decodeFirstTokenMs],
    ["first token after", times.firstTokenMs],
    ["whole request", times.totalMs],
    ["decode alone", times.decodeAloneMs],
  ] as const;
  const known = parts.flatMap(([name, value]) =>
    value === undefined ? [] : [`${name} ${milliseconds(value)}`],
  );
  return [`Times of the request through ${prefill} and ${decode}`, `  ${known.join(" · ")}`];
}

function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
