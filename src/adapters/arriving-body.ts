/** Room for at most this many times what has arrived: a length that is only announced costs no memory. */
const growth = 4;
const smallestRoom = 256 * 1024;

/**
 * A body while it arrives, in one piece of memory: joined at the end, a large one would hold up everybody else, and a
 * scan can go along with it.
 */
export class ArrivingBody {
  readonly #announced: number | undefined;
  #bytes: Uint8Array | undefined;
  #size = 0;

  /** @param announced its length, as far as the client tells */
  constructor(announced: number | undefined) {
    this.#announced = announced;
  }

  /** Bytes so far. */
  get size(): number {
    return this.#size;
  }

  /** What has arrived: a view, good until the next chunk. */
  get bytes(): Uint8Array {
    return this.#bytes === undefined ? new Uint8Array(0) : this.#bytes.subarray(0, this.#size);
  }

  /** @param chunk not copied when it is the only one: do not change it */
  append(chunk: Uint8Array): void {
    const size = this.#size + chunk.byteLength;
    if (this.#size === 0) {
      this.#bytes = chunk;
    } else {
      const room = this.#roomFor(size);
      room.set(chunk, this.#size);
      this.#bytes = room;
    }
    this.#size = size;
  }

  #roomFor(size: number): Uint8Array {
    const old = this.#bytes!;
    if (size <= old.byteLength) return old;
    const most = Math.max(size * growth, smallestRoom);
    const announced = this.#announced ?? most;
    const room = Buffer.allocUnsafeSlow(size <= announced ? Math.min(announced, most) : most);
    room.set(old.subarray(0, this.#size));
    return room;
  }
}
