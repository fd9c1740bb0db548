/** One measured thing: a value for each round. */
export interface Measurement {
  readonly what: string;
  readonly variant: string;
  readonly unit: string;
  readonly values: readonly number[];
}

/** A figure with a limit, or one that is worth to be followed. */
export interface Ratio {
  /** Name in `--json`. */
  readonly key: string;
  readonly title: string;
  /** `x` for a ratio. */
  readonly unit: "x" | "ms" | "us";
  /** One for each pair of measurements. */
  readonly values: readonly number[];
  /** What is aimed at, and what must be reached; absent: not judged. Lower is better. */
  readonly limits?: { readonly goal: number; readonly must: number } | undefined;
}

/** What one workload found. */
export interface WorkloadResult {
  readonly title: string;
  readonly measurements: readonly Measurement[];
  readonly ratios: readonly Ratio[];
  /** What a reader must know to read the figures right. */
  readonly notes: readonly string[];
}
