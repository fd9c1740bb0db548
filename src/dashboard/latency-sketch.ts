import type { Quantiles } from "./page-message.ts";

const smallestMs = 0.1;
const growth = 1.1;
const logGrowth = Math.log(growth);
/** Up to about 20 minutes; what takes longer counts as that. */
const bucketCount = 171;

/** Counts times in buckets that grow by a tenth, so that a quantile is right to about 5 % however many there are. */
export class LatencySketch {
  readonly #counts = new Uint32Array(bucketCount);
  #total = 0;

  add(ms: number): void {
    const bucket = ms <= smallestMs ? 0 : Math.ceil(Math.log(ms / smallestMs) / logGrowth);
    this.#counts[Math.min(bucket, bucketCount - 1)]! += 1;
    this.#total += 1;
  }

  /** Adds all that another one counted. */
  merge(other: LatencySketch): void {
    for (let bucket = 0; bucket < bucketCount; bucket += 1) {
      this.#counts[bucket]! += other.#counts[bucket]!;
    }
    this.#total += other.#total;
  }

  /** Null when nothing was counted. */
  quantiles(): Quantiles | null {
    if (this.#total === 0) return null;
    return { p50: this.#quantile(0.5), p95: this.#quantile(0.95) };
  }

  #quantile(share: number): number {
    const rank = Math.max(1, Math.ceil(share * this.#total));
    let seen = 0;
    let bucket = 0;
    while (bucket < bucketCount - 1) {
      seen += this.#counts[bucket]!;
      if (seen >= rank) break;
      bucket += 1;
    }
    // The middle of the bucket, on the scale it was cut by.
    const ms = smallestMs * growth ** (bucket - 0.5);
    return Number(ms.toPrecision(3));
  }
}
