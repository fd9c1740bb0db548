/** One line of a metrics page. */
export interface PrometheusSample {
  /** For example `vllm:num_requests_running`. */
  readonly name: string;
  /** Labels by name, unescaped. No prototype. */
  readonly labels: Readonly<Record<string, string>>;
  /** May be NaN or infinite. */
  readonly value: number;
}

/** What {@link engineLoadFromMetrics} finds: `EngineLoad` without its time. */
export interface EngineLoadGauges {
  /** `vllm:num_requests_running`, summed over engines. */
  readonly running: number;
  /** `vllm:num_requests_waiting`, summed over engines. */
  readonly waiting: number;
  /** `vllm:kv_cache_usage_perc`, the fullest engine's; 0 to 1, 0 when it is not reported. */
  readonly kvCacheUsage: number;
}

const nameAt = /[a-zA-Z_:][a-zA-Z0-9_:]*/y;
const labelNameAt = /\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"/y;
const labelValueAt = /[^"\\]*(?:\\[\s\S][^"\\]*)*/y;
const restAt = /[ \t]*([^\s#]+)(?:[ \t].*)?$/y;

/**
 * Reads the Prometheus text format, also as OpenMetrics writes it. Comments, `# HELP` and `# TYPE` are passed
 * over, and so is a line that can't be read: one odd metric must not hide the others. Linear in the input.
 */
export function parsePrometheusText(text: string): PrometheusSample[] {
  const samples: PrometheusSample[] = [];
  for (const line of text.split("\n")) {
    const sample = parseLine(line.trim());
    if (sample !== undefined) samples.push(sample);
  }
  return samples;
}

/** One data-parallel rank among those behind a server. */
export interface RankOnPage {
  /** Counted from 0. */
  readonly localRank: number | undefined;
  /** How many there are. */
  readonly localSize: number;
}

/**
 * The load of a vLLM server from its metrics: requests summed over the engines of all data-parallel ranks, and
 * the fullest KV cache. Undefined when the server reports neither running nor waiting requests.
 *
 * @param rank only this rank's, by vLLM's label `engine`; all of them when the page does not tell the ranks apart
 */
export function engineLoadFromMetrics(
  samples: readonly PrometheusSample[],
  rank?: RankOnPage,
): EngineLoadGauges | undefined {
  const engine = rank === undefined ? undefined : engineLabel(samples, rank);
  let running: number | undefined;
  let waiting: number | undefined;
  let kvCacheUsage = 0;
  for (const { name, value, labels } of samples) {
    if (!Number.isFinite(value) || (engine !== undefined && labels["engine"] !== engine)) continue;
    if (name === "vllm:num_requests_running") running = (running ?? 0) + value;
    else if (name === "vllm:num_requests_waiting") waiting = (waiting ?? 0) + value;
    // The second is the name before vLLM 0.10.
    else if (name === "vllm:kv_cache_usage_perc" || name === "vllm:gpu_cache_usage_perc") {
      kvCacheUsage = Math.max(kvCacheUsage, value);
    }
  }
  if (running === undefined && waiting === undefined) return undefined;
  return { running: running ?? 0, waiting: waiting ?? 0, kvCacheUsage };
}

/** The label of a rank: that of the group's rank or of the server's own count, but in the ranks' order. */
function engineLabel(
  samples: readonly PrometheusSample[],
  { localRank, localSize }: RankOnPage,
): string | undefined {
  if (localRank === undefined) return undefined;
  const engines = new Set<string>();
  for (const { name, labels } of samples) {
    if (name === "vllm:num_requests_running" && labels["engine"] !== undefined) engines.add(labels["engine"]);
  }
  return engines.size === localSize
    ? [...engines].toSorted((a, b) => Number(a) - Number(b))[localRank]
    : undefined;
}

function parseLine(line: string): PrometheusSample | undefined {
  if (line === "" || line.startsWith("#")) return undefined;
  const name = matchAt(nameAt, line, 0);
  if (name === null) return undefined;
  let position = skipBlanks(line, name[0].length);
  const labels: Record<string, string> = Object.create(null) as Record<string, string>;
  if (line[position] === "{") {
    const end = parseLabels(line, position + 1, labels);
    if (end === undefined) return undefined;
    position = end;
  }
  const text = matchAt(restAt, line, position)?.[1];
  const value = text === undefined ? undefined : parseValue(text);
  return value === undefined ? undefined : { name: name[0], labels, value };
}

/** Reads labels into `labels`; returns the position after the closing brace, or undefined when they can't be read. */
function parseLabels(line: string, start: number, labels: Record<string, string>): number | undefined {
  let position = skipBlanks(line, start);
  while (line[position] !== "}") {
    const label = matchAt(labelNameAt, line, position);
    if (label === null) return undefined;
    position += label[0].length;
    const value = (matchAt(labelValueAt, line, position) as RegExpExecArray)[0];
    position += value.length;
    if (line[position] !== '"') return undefined;
    labels[label[1] as string] = unescapeLabel(value);
    position = skipBlanks(line, position + 1);
    if (line[position] === ",") position = skipBlanks(line, position + 1);
    else if (line[position] !== "}") return undefined;
  }
  return position + 1;
}

function unescapeLabel(value: string): string {
  if (!value.includes("\\")) return value;
  return value.replaceAll(/\\(.)/g, (whole, character: string) =>
    character === "n" ? "\n" : character === "\\" || character === '"' ? character : whole,
  );
}

function parseValue(text: string): number | undefined {
  if (/^[+-]?inf(?:inity)?$/i.test(text)) return text.startsWith("-") ? -Infinity : Infinity;
  if (/^nan$/i.test(text)) return Number.NaN;
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : undefined;
}

function matchAt(pattern: RegExp, text: string, position: number): RegExpExecArray | null {
  pattern.lastIndex = position;
  return pattern.exec(text);
}

function skipBlanks(text: string, position: number): number {
  while (text[position] === " " || text[position] === "\t") position += 1;
  return position;
}
