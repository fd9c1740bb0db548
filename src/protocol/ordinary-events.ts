import { mayHaveInternalField } from "./internal-fields.ts";

const eventStart = 'data: {"';
const lineFeed = 0x0a;
const closingBrace = 0x7d;

/**
 * Counts the events of a piece of a stream when each plainly is one more token: a single line with a JSON object that
 * finishes nothing, reports no error and no usage, and has no field that is between engines. Nearly all that an engine
 * sends is like that, and a few searches tell; nothing is parsed.
 *
 * @param text must begin between two events; each byte as one character will do
 * @returns 0 when there is anything else in it, or may be: then the piece needs a closer look
 */
export function countOrdinaryEvents(text: string): number {
  if (!saysNothing(text)) return 0;
  let count = 0;
  let start = 0;
  while (start < text.length) {
    const end = text.indexOf("\n", start);
    if (text.charCodeAt(end - 1) !== closingBrace || text.charCodeAt(end + 1) !== lineFeed) return 0;
    if (!text.startsWith(eventStart, start)) return 0;
    count += 1;
    start = end + 2;
  }
  return count;
}

/** What is looked for begins with a character that is rare in events: a search for a quote takes three times as long. */
function saysNothing(text: string): boolean {
  return (
    text.indexOf("\r") === -1 &&
    !mayHaveInternalField(text) &&
    text.indexOf('{"error"') === -1 &&
    // Of `finish_reason` and `stop_reason`.
    isAlwaysNull(text, '_reason"') &&
    // Next to a null, the same key with an escape in it may say something.
    (text.indexOf('usage"') === -1 || (isAlwaysNull(text, 'usage"') && text.indexOf("\\") === -1))
  );
}

function isAlwaysNull(text: string, key: string): boolean {
  let end = 0;
  for (let at = text.indexOf(key); at !== -1; at = text.indexOf(key, end)) {
    end = at + key.length;
    if (!text.startsWith(":null", end)) return false;
  }
  return true;
}
