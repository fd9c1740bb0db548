const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const empty = new Uint8Array(0);

/**
 * Cuts a byte stream of server-sent events at event boundaries, so that whatever follows (an error event, the end)
 * never lands inside a half-sent event. Bytes are not changed, only held until their event is complete.
 */
export class EventAligner {
  readonly #maxHeldBytes: number;
  #held: Uint8Array = empty;
  #withinEvent = false;

  /** @param maxHeldBytes an event larger than this is let through in pieces */
  constructor(maxHeldBytes = 1024 * 1024) {
    this.#maxHeldBytes = maxHeldBytes;
  }

  /** Bytes of the event that is not complete yet. */
  get held(): Uint8Array {
    return this.#held;
  }

  /** True when the next bytes that {@link take} returns continue an event that was too large to hold. */
  get withinEvent(): boolean {
    return this.#withinEvent;
  }

  /** @returns the bytes up to the end of the last complete event, possibly none */
  take(chunk: Uint8Array): Uint8Array {
    const bytes = this.#held.length === 0 ? chunk : concat(this.#held, chunk);
    const end = endOfLastEvent(bytes);
    const tooLarge = end === 0 && bytes.length > this.#maxHeldBytes;
    if (tooLarge || end > 0) this.#withinEvent = tooLarge;
    if (end === bytes.length || tooLarge) {
      this.#held = empty;
      return bytes;
    }
    // A copy: the held part must not keep a whole socket buffer alive, nor be overwritten.
    this.#held = bytes.slice(end);
    return bytes.subarray(0, end);
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

function concat(first: Uint8Array, second: Uint8Array): Uint8Array {
  const joined = new Uint8Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}
