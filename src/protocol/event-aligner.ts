const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const empty = new Uint8Array(0);
/** A blank line is at most `\r\n\r\n`, of which all but one byte can be held. */
const tailBytes = 3;

/**
 * Cuts a byte stream of server-sent events at event boundaries, so that whatever follows (an error event, the end)
 * never lands inside a half-sent event. Bytes are not changed, only held until their event is complete.
 */
export class EventAligner {
  readonly #maxHeldBytes: number;
  /** Copies, because what is held must not keep whole socket buffers alive, nor be overwritten. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  /** The last of the held bytes: enough to find a blank line that goes on in the next chunk. */
  #tail: Uint8Array = empty;
  #withinEvent = false;

  /** @param maxHeldBytes an event larger than this is let through in pieces */
  constructor(maxHeldBytes = 1024 * 1024) {
    this.#maxHeldBytes = maxHeldBytes;
  }

  /** Bytes of the event that is not complete yet. */
  get held(): Uint8Array {
    return concat(this.#held, this.#heldBytes);
  }

  /** True when the next bytes that {@link take} returns continue an event that was too large to hold. */
  get withinEvent(): boolean {
    return this.#withinEvent;
  }

  /** True when the next bytes begin an event, and none are held. */
  get betweenEvents(): boolean {
    return this.#heldBytes === 0 && !this.#withinEvent;
  }

  /** @returns the bytes up to the end of the last complete event, possibly none */
  take(chunk: Uint8Array): Uint8Array {
    const end = this.#endOfLastEvent(chunk);
    const tooLarge = end === 0 && this.#heldBytes + chunk.length > this.#maxHeldBytes;
    if (end === 0 && !tooLarge) {
      this.#hold(chunk);
      return empty;
    }
    this.#withinEvent = tooLarge;
    const complete = tooLarge ? chunk : chunk.subarray(0, end);
    const bytes =
      this.#heldBytes === 0 ? complete : concat([...this.#held, complete], this.#heldBytes + complete.length);
    this.#held = [];
    this.#heldBytes = 0;
    this.#tail = empty;
    if (complete.length < chunk.length) this.#hold(chunk.subarray(complete.length));
    return bytes;
  }

  /** Offset in the chunk; what is held was searched before. */
  #endOfLastEvent(chunk: Uint8Array): number {
    const end = endOfLastEvent(chunk);
    if (end > 0 || this.#tail.length === 0) return end;
    const seam = concat(
      [this.#tail, chunk.subarray(0, tailBytes)],
      this.#tail.length + Math.min(tailBytes, chunk.length),
    );
    return Math.max(0, endOfLastEvent(seam) - this.#tail.length);
  }

  #hold(chunk: Uint8Array): void {
    // Not `slice`, which copies nothing when it is a Buffer's.
    const copy = new Uint8Array(chunk);
    this.#held.push(copy);
    this.#heldBytes += copy.length;
    const tail =
      copy.length >= tailBytes ? copy : concat([this.#tail, copy], this.#tail.length + copy.length);
    this.#tail = tail.subarray(Math.max(0, tail.length - tailBytes));
  }
}

/** Offset just behind the last blank line, 0 when there is none. */
function endOfLastEvent(bytes: Uint8Array): number {
  for (let index = bytes.length - 1; index > 0; index -= 1) {
    const byte = bytes[index];
    if (byte === lineFeed) {
      const previous = bytes[index - 1];
      if (previous === lineFeed) return index + 1;
      if (previous === carriageReturn && index >= 3 && bytes[index - 2] === lineFeed) return index + 1;
    } else if (byte === carriageReturn && bytes[index - 1] === carriageReturn) {
      return index + 1;
    }
  }
  return 0;
}

function concat(parts: readonly Uint8Array[], size: number): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const joined = new Uint8Array(size);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
