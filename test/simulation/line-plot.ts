/** One line of a plot. */
export interface Line {
  readonly name: string;
  /** One for each place on the x axis. */
  readonly values: readonly number[];
}

/** A plot of lines over named places. */
export interface LinePlot {
  readonly title: string;
  readonly xTitle: string;
  readonly xNames: readonly string[];
  readonly lines: readonly Line[];
  /** Ends of the y axis. */
  readonly from: number;
  readonly to: number;
}

const width = 720;
const height = 380;
const area = { left: 56, top: 44, right: 530, bottom: 320 };
const steps = 5;
/** Told apart without colours, too: each line has dashes and marks of its own. */
const strokes = ["#0b6bcb", "#c2410c", "#15803d", "#7e22ce", "#334155", "#be123c", "#0e7490"];
const dashes = ["", "8 4", "2 3", "10 3 2 3", "5 2", "1 4", "12 6"];

/** Draws a plot as SVG: text, so that changes of figures can be read in a diff. */
export function drawLines(plot: LinePlot): string {
  const x = (index: number): number =>
    area.left + ((area.right - area.left) * index) / Math.max(1, plot.xNames.length - 1);
  const y = (value: number): number => {
    const part = (Math.min(value, plot.to) - plot.from) / (plot.to - plot.from);
    return area.bottom - (area.bottom - area.top) * part;
  };
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(area.left, 24, plot.title, 'font-size="15" font-weight="bold"'),
    text((area.left + area.right) / 2, height - 20, plot.xTitle, 'text-anchor="middle"'),
  ];
  for (let step = 0; step <= steps; step += 1) {
    const value = plot.from + ((plot.to - plot.from) * step) / steps;
    parts.push(
      `<path d="M${area.left} ${round(y(value))}H${area.right}" stroke="#ddd"/>`,
      text(area.left - 8, y(value) + 4, value.toFixed(2), 'text-anchor="end"'),
    );
  }
  for (const [index, name] of plot.xNames.entries())
    parts.push(text(x(index), area.bottom + 18, name, 'text-anchor="middle"'));
  for (const [index, { name, values }] of plot.lines.entries()) {
    const stroke = strokes[index % strokes.length];
    const points = values.map((value, place) => `${round(x(place))} ${round(y(value))}`);
    const look = `fill="none" stroke="${stroke}" stroke-width="2" stroke-dasharray="${dashes[index % dashes.length]}"`;
    const row = area.top + 10 + 20 * index;
    parts.push(
      `<path d="M${points.join("L")}" ${look}/>`,
      `<path d="M${area.right + 16} ${row}h28" ${look}/>`,
      text(area.right + 50, row + 4, name),
    );
  }
  return `${parts.join("\n")}\n</svg>\n`;
}

function text(x: number, y: number, content: string, more = ""): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${round(x)}" y="${round(y)}" fill="#222" ${more}>${escaped}</text>`;
}

function round(value: number): string {
  return value.toFixed(1);
}
