import { parsePrometheusText } from "./prometheus-text.ts";

/** One engine's metrics page and the labels that tell it from the others. */
export interface EngineMetricsPage {
  /** Added to every sample; an engine's own label of the same name becomes `exported_...`, as in Prometheus. */
  readonly labels: Readonly<Record<string, string>>;
  /** Prometheus text; undefined when the engine could not be asked. */
  readonly text: string | undefined;
}

interface Family {
  /** `# HELP` and `# TYPE` as the first page had them. */
  readonly comments: Map<string, string>;
  readonly samples: string[];
}

const commentAt =
  /^# (?:(HELP) ([a-zA-Z_:][a-zA-Z0-9_:]*) .*|(TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (?:counter|gauge|histogram|summary|untyped))$/;
const samplesOfFamily = /_(?:bucket|sum|count|created)$/;

/**
 * Puts the pages of several engines into one, family by family as the format demands, with labels for each engine.
 *
 * Only names with a colon are taken (`vllm:...`, `lmcache:...`): those are an engine's own. What its Python process
 * reports beside them (`process_...`, `http_...`) would clash with the same names of this process.
 */
export function mergeMetrics(pages: readonly EngineMetricsPage[]): string {
  const families = new Map<string, Family>();
  for (const { labels, text } of pages) {
    for (const line of text?.split("\n") ?? []) readLine(line.trim(), labels, families);
  }
  const lines: string[] = [];
  for (const { comments, samples } of families.values()) {
    if (samples.length > 0) lines.push(...comments.values(), ...samples);
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

/** One line of Prometheus' text format, without its line break. */
export function sampleText(name: string, labels: Readonly<Record<string, string>>, value: number): string {
  const texts = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}{${texts.join(",")}} ${valueText(value)}`;
}

function readLine(line: string, own: EngineMetricsPage["labels"], families: Map<string, Family>): void {
  const comment = commentAt.exec(line);
  if (comment !== null) {
    const kind = comment[1] ?? comment[3]!;
    const name = comment[2] ?? comment[4]!;
    if (!name.includes(":")) return;
    const { comments } = familyOf(families, name);
    if (!comments.has(kind)) comments.set(kind, line);
    return;
  }
  // What can't be read here can't be read by Prometheus either, and would cost it the whole page.
  const [sample] = parsePrometheusText(line);
  if (sample === undefined || !sample.name.includes(":")) return;
  const { name, labels, value } = sample;
  const all: Record<string, string> = { ...own };
  for (const [label, text] of Object.entries(labels)) {
    all[Object.hasOwn(own, label) ? `exported_${label}` : label] = text;
  }
  const family =
    families.get(name) ?? families.get(name.replace(samplesOfFamily, "")) ?? familyOf(families, name);
  family.samples.push(sampleText(name, all, value));
}

function familyOf(families: Map<string, Family>, name: string): Family {
  const known = families.get(name);
  if (known !== undefined) return known;
  const family: Family = { comments: new Map(), samples: [] };
  families.set(name, family);
  return family;
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}

function valueText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  return Number.isFinite(value) ? String(value) : value > 0 ? "+Inf" : "-Inf";
}
