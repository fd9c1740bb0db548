import uPlot from "uplot";
import type { TrafficPoint } from "../page-message.ts";
import { element, setAttribute } from "./element.ts";
import { amount, duration, percent } from "./format.ts";
import type { PageState } from "./page-state.ts";

interface Line {
  readonly label: string;
  /** Name of the colour in the style sheet. */
  readonly color: string;
  readonly value: (point: TrafficPoint, seconds: number) => number | null;
}

interface ChartKind {
  readonly title: string;
  readonly format: (value: number) => string;
  /** The scale reaches at least this far, so that noise does not look like much. */
  readonly least: number;
  readonly lines: readonly Line[];
}

const kinds: readonly ChartKind[] = [
  {
    title: "Requests per second",
    format: amount,
    least: 1,
    lines: [
      { label: "succeeded", color: "--line-1", value: (point, seconds) => point.succeeded / seconds },
      { label: "failed", color: "--bad", value: (point, seconds) => point.failed / seconds },
    ],
  },
  {
    title: "Time to first token",
    format: duration,
    least: 10,
    lines: [
      { label: "p50", color: "--line-1", value: (point) => point.timeToFirstTokenMs?.p50 ?? null },
      { label: "p95", color: "--line-2", value: (point) => point.timeToFirstTokenMs?.p95 ?? null },
    ],
  },
  {
    title: "Time between tokens",
    format: duration,
    least: 10,
    lines: [
      { label: "p50", color: "--line-1", value: (point) => point.interTokenMs?.p50 ?? null },
      { label: "p95", color: "--line-2", value: (point) => point.interTokenMs?.p95 ?? null },
    ],
  },
  {
    title: "Errors and decode-only",
    format: percent,
    least: 0.1,
    lines: [
      { label: "errors", color: "--bad", value: (point) => share(point.failed, ended(point)) },
      {
        label: "decode-only",
        color: "--line-2",
        value: (point) => share(point.decodeOnly, point.decodeOnly + point.disaggregated),
      },
    ],
  },
];

const height = 150;

/** Rates and latencies of the last ten minutes. */
export class ChartsView {
  readonly root = element("section", { class: "charts", "aria-label": "The last ten minutes" });
  readonly #charts: readonly Chart[];

  constructor() {
    this.#charts = kinds.map((kind) => new Chart(kind));
    this.root.append(...this.#charts.map((chart) => chart.root));
    new ResizeObserver(() => {
      for (const chart of this.#charts) chart.resize();
    }).observe(this.root);
  }

  render(state: PageState): void {
    for (const chart of this.#charts) chart.render(state);
  }

  /** Colours are others. */
  redraw(): void {
    for (const chart of this.#charts) chart.redraw();
  }
}

class Chart {
  readonly root: HTMLElement;
  readonly #kind: ChartKind;
  readonly #place = element("div", { class: "plot", role: "img" });
  #plot: uPlot | undefined;

  constructor(kind: ChartKind) {
    this.#kind = kind;
    this.root = element("figure", { class: "card" }, element("figcaption", {}, kind.title), this.#place);
  }

  render({ points, pointMs, at }: PageState): void {
    const { lines, title, format } = this.#kind;
    // In the middle of what a point stands for.
    const times = points.map((point) => (point.at + pointMs / 2) / 1000);
    const series = lines.map((line) => points.map((point) => line.value(point, pointMs / 1000)));
    this.#plot ??= this.#make();
    const end = at / 1000;
    this.#plot.batch(() => {
      this.#plot?.setData([times, ...series], false);
      this.#plot?.setScale("x", { min: Math.min(times[0] ?? end, end - 60), max: end });
      const top = Math.max(this.#kind.least, ...series.flat().map((value) => value ?? 0));
      this.#plot?.setScale("y", { min: 0, max: top * 1.1 });
    });
    // Without the mouse over it, a chart tells its last values.
    if (points.length > 0 && (this.#plot.cursor.left ?? -1) < 0)
      this.#plot.setLegend({ idx: points.length - 1 });
    const last = lines.map((line, index) => {
      const value = series[index]?.findLast((each) => each !== null);
      return `${line.label} ${value === undefined || value === null ? "unknown" : format(value)}`;
    });
    setAttribute(this.#place, "aria-label", `${title}: ${last.join(", ")}`);
  }

  resize(): void {
    const width = this.#place.clientWidth;
    if (width > 0) this.#plot?.setSize({ width, height });
  }

  redraw(): void {
    this.#plot?.redraw(false);
  }

  #make(): uPlot {
    const { lines, format } = this.#kind;
    const axis: uPlot.Axis = {
      stroke: () => color("--text-2"),
      grid: { stroke: () => color("--rule"), width: 1 },
      ticks: { show: false },
      font: "11px system-ui, sans-serif",
    };
    const options: uPlot.Options = {
      width: this.#place.clientWidth || 320,
      height,
      cursor: { sync: { key: "serve-llm" }, points: { size: 6 }, drag: { x: false, y: false } },
      legend: { live: true },
      scales: { x: { time: true, auto: false }, y: { auto: false } },
      axes: [
        {
          ...axis,
          space: 70,
          size: 26,
          values: (_, splits) => splits.map((split) => clock(split, isShort(splits))),
        },
        { ...axis, size: 52, space: 34, values: (_, splits) => splits.map((split) => format(split)) },
      ],
      series: [
        {
          label: "at",
          value: (_, seconds: number | null) => (seconds === null ? "–" : clock(seconds, true)),
        },
        ...lines.map((line): uPlot.Series => ({
          label: line.label,
          stroke: () => color(line.color),
          width: 1.5,
          points: { show: (plot, index) => isAlone(plot, index), size: 4 },
          value: (_, value: number | null) => (value === null ? "–" : format(value)),
        })),
      ],
    };
    return new uPlot(options, [[], ...lines.map(() => [])], this.#place);
  }
}

/** With few points a line may have none beside it to go to. */
function isAlone(plot: uPlot, series: number): boolean {
  const known = (plot.data[series] ?? []).filter((value) => value !== null && value !== undefined);
  return known.length < 30;
}

/** Ticks so near to each other that minutes do not tell them apart. */
function isShort([first = 0, second = 60]: readonly number[]): boolean {
  return second - first < 60;
}

function clock(seconds: number, exact = false): string {
  return new Date(seconds * 1000).toLocaleTimeString(undefined, {
    hour12: false,
    hour: "2-digit",
    minute: "2-digit",
    ...(exact ? { second: "2-digit" } : {}),
  });
}

function ended({ succeeded, failed, cancelled, refused }: TrafficPoint): number {
  return succeeded + failed + cancelled + refused;
}

function share(part: number, whole: number): number | null {
  return whole === 0 ? null : part / whole;
}

let probe: HTMLElement | undefined;

/** A colour of the style sheet as the canvas takes it: for the theme that is on. */
function color(name: string): string {
  if (probe === undefined) {
    probe = element("i", { hidden: true });
    document.body.append(probe);
  }
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}
