/** `850 µs`, `12.3 ms`, `4.56 s`, `2.1 min`. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  if (ms <= 0) return "0 ms";
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${significant(ms)} ms`;
  if (ms < 120_000) return `${significant(ms / 1000)} s`;
  return `${significant(ms / 60_000)} min`;
}

/** `0 %`, `0.4 %`, `37 %`. */
export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined) return "–";
  const value = share * 100;
  return `${value > 0 && value < 10 ? Number(value.toFixed(1)) : Math.round(value)} %`;
}

/** `0`, `0.25`, `12.3`, `4560`, `12.3k`. */
export function amount(value: number): string {
  if (value >= 10_000) return `${significant(value / 1000)}k`;
  return significant(value);
}

/** `handed_off` as people write it. */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}

/** Three digits, and no more places than that needs. */
function significant(value: number): string {
  if (value >= 100) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}
