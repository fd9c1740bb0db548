const asciiLimit = 32;

/** The string between these offsets, quotes included, its escapes decoded. Only for text that was scanned. */
export function decodeJsonString(bytes: Uint8Array, start: number, end: number): string {
  const plain = decodePlainAscii(bytes, start + 1, end - 1);
  return plain ?? (JSON.parse(decodeJsonText(bytes, start, end)) as string);
}

/** True when the string between these offsets, quotes included, is `text` once its escapes are decoded. */
export function isJsonString(bytes: Uint8Array, start: number, end: number, text: string): boolean {
  const length = end - start - 2;
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
      return JSON.parse(decodeJsonText(bytes, start, end));
  }
}

/** JSON text as a string. */
function decodeJsonText(bytes: Uint8Array, start: number, end: number): string {
  return decodePlainAscii(bytes, start, end) ?? decoder.decode(bytes.subarray(start, end));
}

// A value may start with U+FEFF within its quotes only, so nothing is lost; ignoreBOM says so to the decoder too.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Text of a short run of ASCII without backslashes, or undefined: a call to TextDecoder costs more than the scan of a key. */
function decodePlainAscii(bytes: Uint8Array, start: number, end: number): string | undefined {
  if (end - start > asciiLimit) return undefined;
  let text = "";
  for (let position = start; position < end; position += 1) {
    const byte = bytes[position] as number;
    if (byte >= 0x80 || byte === 0x5c) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}
