const refreshMs = 200;
const plainMs = 5_000;
// Some terminals do not say how wide they are.
const usualColumns = 120;

/**
 * Keeps one line about the running requests on the screen; where nobody watches, a line every few seconds while
 * something changes.
 *
 * @param describe the line, without a line end
 * @returns stops it
 */
export function liveView(describe: () => string): () => void {
  const stdout = process.stdout;
  let shown = "";
  const draw = (): void => {
    const text = describe();
    if (text === shown) return;
    shown = text;
    if (stdout.isTTY) stdout.write(`\r\u001B[2K${text.slice(0, (stdout.columns || usualColumns) - 1)}`);
    else stdout.write(`${text}\n`);
  };
  if (stdout.isTTY) draw();
  else shown = describe();
  const timer = setInterval(draw, stdout.isTTY ? refreshMs : plainMs);
  return () => {
    clearInterval(timer);
    draw();
    if (stdout.isTTY) stdout.write("\n");
  };
}
