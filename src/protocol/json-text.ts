const asciiLimit = 32;

/** The key between these offsets, quotes included, its escapes decoded. Only for text that was scanned. */
export function decodeJsonKey(bytes: Uint8Array, start: number, end: number): string {
  const plain = decodePlainAscii(bytes, start + 1, end - 1);
  return plain ?? (JSON.parse(decodeJsonText(bytes, start, end)) as string);
}

/** JSON text as a string. */
export function decodeJsonText(bytes: Uint8Array, start: number, end: number): string {
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
