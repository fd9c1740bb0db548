import { hash32 } from "./murmur3.ts";

/**
 * Names on a circle, each at many points, so that a key's owner changes for few keys when a name comes or goes.
 */
export class HashRing {
  /** Ascending. */
  readonly #points: Uint32Array;
  /** Name at each point. */
  readonly #owners: readonly string[];

  /** @param pointsPerName how often each name is on the circle; more spread keys more evenly */
  constructor(names: readonly string[], pointsPerName: number) {
    const entries: { readonly point: number; readonly name: string }[] = [];
    for (const name of names) {
      for (let index = 0; index < pointsPerName; index += 1) {
        entries.push({ point: hash32(`${name}:${index}`), name });
      }
    }
    entries.sort((a, b) => a.point - b.point || (a.name < b.name ? -1 : 1));
    this.#points = Uint32Array.from(entries, (entry) => entry.point);
    this.#owners = entries.map((entry) => entry.name);
  }

  /**
   * Visits names clockwise from the key's owner, some of them more than once.
   *
   * @param visit returns true to stop
   */
  walk(key: string, visit: (name: string) => boolean): void {
    const count = this.#owners.length;
    const start = this.#firstAbove(hash32(key));
    for (let step = 0; step < count; step += 1) {
      if (visit(this.#owners[(start + step) % count] as string)) return;
    }
  }

  /** Index of the first point beyond a value (Python's `bisect_right`), which may be past the end. */
  #firstAbove(value: number): number {
    let low = 0;
    let high = this.#points.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#points[middle] as number) <= value) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
