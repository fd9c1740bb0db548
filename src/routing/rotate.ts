/** The items from `start` on, then those before it. The array itself when it starts at 0; never changed. */
export function rotate<Item>(items: readonly Item[], start: number): readonly Item[] {
  return start === 0 ? items : [...items.slice(start), ...items.slice(0, start)];
}
