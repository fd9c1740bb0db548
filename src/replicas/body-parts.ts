import { joinBytes } from "../internal/join-bytes.ts";

/** From here on, parts are written one by one instead of being joined: copying costs more than the extra writes. */
const joinBelowBytes = 128 * 1024;
/** Each part costs a system call and some turns of promises: below this, copying it costs less. */
const smallPartBytes = 16 * 1024;

/** Bytes of all parts. */
export function sizeOfParts(parts: readonly Uint8Array[]): number {
  let size = 0;
  for (const part of parts) size += part.byteLength;
  return size;
}

/** A small body in one piece; of a large one, small parts that lie side by side. */
export function joinSmallParts(parts: readonly Uint8Array[]): Buffer | readonly Uint8Array[] {
  return sizeOfParts(parts) >= joinBelowBytes ? joinNeighbours(parts) : joinBytes(parts);
}

function joinNeighbours(parts: readonly Uint8Array[]): readonly Uint8Array[] {
  const joined: Uint8Array[] = [];
  let index = 0;
  while (index < parts.length) {
    const start = index;
    while (index < parts.length && (parts[index] as Uint8Array).byteLength < smallPartBytes) index += 1;
    if (index > start) joined.push(joinBytes(parts.slice(start, index)));
    if (index < parts.length) joined.push(parts[index] as Uint8Array);
    index += 1;
  }
  return joined;
}
