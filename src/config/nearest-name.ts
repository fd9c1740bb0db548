/**
 * The known name most like an unknown one, or undefined when none is close.
 *
 * @param name what the user wrote
 * @param known names that exist
 */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const sought = fold(name);
  let best: string | undefined;
  // A third of the letters may differ: typos are found, unrelated words are not.
  let bestDistance = Math.max(1, Math.floor(sought.length / 3)) + 1;
  for (const candidate of known) {
    const folded = fold(candidate);
    if (Math.abs(folded.length - sought.length) >= bestDistance) continue;
    const distance = editDistance(sought, folded);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** The end of a sentence that suggests the nearest known name, or an empty string. */
export function suggestion(name: string, known: Iterable<string>): string {
  const nearest = nearestName(name, known);
  return nearest === undefined ? "" : `; did you mean "${nearest}"?`;
}

function fold(name: string): string {
  return name
    .slice(0, 100)
    .replaceAll(/[_\-\s]/g, "")
    .toLowerCase();
}

/** Levenshtein's distance. */
function editDistance(left: string, right: string): number {
  let previous = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const change = left[row - 1] === right[column - 1] ? 0 : 1;
      current.push(
        Math.min(
          (previous[column] ?? 0) + 1,
          (current[column - 1] ?? 0) + 1,
          (previous[column - 1] ?? 0) + change,
        ),
      );
    }
    previous = current;
  }
  return previous[right.length] ?? 0;
}
