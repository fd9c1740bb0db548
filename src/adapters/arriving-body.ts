/** Room for at most this many times what has arrived: a length that is only announced costs no memory. */
const announcedGrowth = 8;
/** The same where nothing was announced: what is too much then stays too much. */
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
    const room = Buffer.allocUnsafeSlow(roomFor(size, this.#announced));
    room.set(old.subarray(0, this.#size));
    return room;
  }
}

/** How much memory a body gets of which `size` bytes have come. */
function roomFor(size: number, announced: number | undefined): number {
  if (announced === undefined || size > announced) return Math.max(size * growth, smallestRoom);
  // In steps that end at what was announced: then the last copy, which is the largest, is of an eighth of it.
  let room = announced;
  while (room > size * announcedGrowth) room = Math.ceil(room / announcedGrowth);
  return room;
}
