const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const data = [0x64, 0x61, 0x74, 0x61] as const;
const colon = 0x3a;

/**
 * Where one of the events in a piece of a stream begins, so that what came before it can be sent on without it.
 *
 * Only what has a `data` line counts as an event, as for who reads the stream: comments and lone names are part of the
 * event that follows them.
 *
 * @param number which event, from 1
 * @param withinEvent true when the piece begins within an event, which is then the first
 * @param isLast true when the piece has no event beyond that one: it is then looked for from the end
 * @returns the offset of its first line; the length of `bytes` when there are not so many
 */
export function startOfEvent(bytes: Uint8Array, number: number, withinEvent = false, isLast = false): number {
  if (isLast) {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (!buffer.includes(carriageReturn)) return startOfLastEvent(buffer, withinEvent);
  }
  let seen = 0;
  let start = 0;
  let hasData = withinEvent;
  let position = 0;
  while (position < bytes.length) {
    const end = endOfLine(bytes, position);
    if (end === position) {
      // A blank line ends the event, if there is one.
      if (hasData && (seen += 1) === number) return start;
      start = afterBreak(bytes, end);
      hasData = false;
    } else if (isData(bytes, position, end)) {
      hasData = true;
    }
    position = afterBreak(bytes, end);
  }
  return hasData && seen + 1 === number ? start : bytes.length;
}

/** Where lines end in line feeds only. */
function startOfLastEvent(bytes: Buffer, withinEvent: boolean): number {
  let end = bytes.length;
  while (end > 0) {
    while (end > 0 && bytes[end - 1] === lineFeed) end -= 1;
    const blank = end === 0 ? -1 : bytes.lastIndexOf("\n\n", end - 1);
    const start = blank < 0 ? Number(bytes[0] === lineFeed) : blank + 2;
    if (hasDataLine(bytes, start, end)) return start;
    if (blank < 0) break;
    end = blank;
  }
  return withinEvent ? 0 : bytes.length;
}

function hasDataLine(bytes: Uint8Array, start: number, end: number): boolean {
  for (let position = start; position < end;) {
    const lineEnd = Math.min(endOfLine(bytes, position), end);
    if (isData(bytes, position, lineEnd)) return true;
    position = lineEnd + 1;
  }
  return false;
}

function endOfLine(bytes: Uint8Array, from: number): number {
  let position = from;
  while (position < bytes.length && bytes[position] !== lineFeed && bytes[position] !== carriageReturn)
    position += 1;
  return position;
}

function afterBreak(bytes: Uint8Array, end: number): number {
  return end + (bytes[end] === carriageReturn && bytes[end + 1] === lineFeed ? 2 : 1);
}

function isData(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < data.length || data.some((byte, index) => bytes[start + index] !== byte)) return false;
  return end - start === data.length || bytes[start + data.length] === colon;
}
