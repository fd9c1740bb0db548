/** All parts in one piece: not a copy when there is one part only, and it is a Buffer. */
export function joinBytes(parts: readonly Uint8Array[]): Buffer {
  const only = parts.length === 1 ? parts[0] : undefined;
  return Buffer.isBuffer(only) ? only : Buffer.concat(parts);
}
