/** From here on, parts are written one by one instead of being joined: copying costs more than the extra writes. */
const joinBelowBytes = 128 * 1024;

/** Bytes of all parts. */
export function sizeOfParts(parts: readonly Uint8Array[]): number {
  let size = 0;
  for (const part of parts) size += part.byteLength;
  return size;
}

/** A small body in one piece, a large one as it is. */
export function joinSmallParts(parts: readonly Uint8Array[]): Buffer | readonly Uint8Array[] {
  if (sizeOfParts(parts) >= joinBelowBytes) return parts;
  const only = parts.length === 1 ? parts[0] : undefined;
  return Buffer.isBuffer(only) ? only : Buffer.concat(parts);
}
