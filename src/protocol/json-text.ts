/** Longer strings are handed to JSON.parse without being looked at. */
const plainLimit = 128;
/** Integers of up to so many digits are exact as JavaScript numbers, whichever way they are added up. */
const exactDigits = 15;

/** The string between these offsets, quotes included, its escapes decoded. Only for text that was scanned. */
export function decodeJsonString(bytes: Uint8Array, start: number, end: number): string {
  if (end - start <= plainLimit && isPlainAscii(bytes, start + 1, end - 1)) {
    return bufferOf(bytes).toString("latin1", start + 1, end - 1);
  }
  return JSON.parse(jsonTextOf(bytes, start, end)) as string;
}

/** True when the string between these offsets, quotes included, is `text` once its escapes are decoded. */
export function isJsonString(bytes: Uint8Array, start: number, end: number, text: string): boolean {
  const length = end - start - 2;
  // Escaped or encoded, a text only gets longer.
  if (length < text.length) return false;
  for (let index = 0; index < length; index += 1) {
    const byte = bytes[start + 1 + index] as number;
    // What came before is the same in both; from here on a byte is no longer a character.
    if (byte >= 0x80 || byte === 0x5c) return decodeJsonString(bytes, start, end) === text;
    if (byte !== text.charCodeAt(index)) return false;
  }
  return length === text.length;
}

/** The value between these offsets. Only for text that was scanned. */
export function parseJsonText(bytes: Uint8Array, start: number, end: number): unknown {
  switch (bytes[start]) {
    case 0x74:
      return true;
    case 0x66:
      return false;
    case 0x6e:
      return null;
    case 0x22:
      return decodeJsonString(bytes, start, end);
    default:
      return shortInteger(bytes, start, end) ?? JSON.parse(jsonTextOf(bytes, start, end));
  }
}

/** JSON text as a string. */
function jsonTextOf(bytes: Uint8Array, start: number, end: number): string {
  return bufferOf(bytes).toString("utf8", start, end);
}

/** An integer without exponent that JavaScript holds exactly; undefined for anything else. */
function shortInteger(bytes: Uint8Array, start: number, end: number): number | undefined {
  const negative = bytes[start] === 0x2d;
  const first = negative ? start + 1 : start;
  if (end - first > exactDigits) return undefined;
  let value = 0;
  for (let position = first; position < end; position += 1) {
    const digit = (bytes[position] as number) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return negative ? -value : value;
}

function isPlainAscii(bytes: Uint8Array, start: number, end: number): boolean {
  for (let position = start; position < end; position += 1) {
    const byte = bytes[position] as number;
    if (byte >= 0x80 || byte === 0x5c) return false;
  }
  return true;
}

/** The same bytes: a Buffer decodes a part of itself at once, a TextDecoder wants a view of that part first. */
function bufferOf(bytes: Uint8Array): Buffer {
  return bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
