import { PackedTraces } from "./packed-traces.ts";
import type { RequestTrace } from "./request-trace.ts";

/** So many of the latest are kept as they are: an engine may close its stream a moment after the request is over. */
const liveTraces = 32;

/**
 * The last requests that are over. What is older falls out.
 *
 * Every request is added and hardly one ever looked for: a search costs less than an index that is kept for all, and
 * objects that stay are dear, see {@link PackedTraces}.
 */
export class TraceRing {
  /** The latest, oldest first from `#nextLive` on. */
  readonly #live: RequestTrace[] = [];
  readonly #maxLive: number;
  #nextLive = 0;
  readonly #packed = new PackedTraces();
  /** What can't be packed, by its place among the packed ones. */
  readonly #unpacked = new Map<number, RequestTrace>();
  readonly #maxPacked: number;
  #packedCount = 0;
  #nextPacked = 0;

  /** @param capacity how many are kept; 0 keeps none */
  constructor(capacity: number) {
    this.#maxLive = Math.min(capacity, liveTraces);
    this.#maxPacked = capacity - this.#maxLive;
  }

  add(trace: RequestTrace): void {
    if (this.#maxLive === 0) return;
    const oldest = this.#live[this.#nextLive];
    if (oldest !== undefined && this.#maxPacked > 0) this.#pack(oldest);
    this.#live[this.#nextLive] = trace;
    this.#nextLive = (this.#nextLive + 1) % this.#maxLive;
  }

  /** The latest request of that id: a client may have used it again. */
  get(requestId: string): RequestTrace | undefined {
    const { length } = this.#live;
    for (let age = 1; age <= length; age += 1) {
      const trace = this.#live[(this.#nextLive - age + length) % length]!;
      if (trace.requestId === requestId) return trace;
    }
    for (let age = 1; age <= this.#packedCount; age += 1) {
      const place = (this.#nextPacked - age + this.#packedCount) % this.#packedCount;
      const unpacked = this.#unpacked.get(place);
      const found = unpacked === undefined ? this.#packed.requestId(place) : unpacked.requestId;
      if (found === requestId) return unpacked ?? this.#packed.get(place);
    }
    return undefined;
  }

  /** Oldest first. */
  all(): readonly RequestTrace[] {
    const count = this.#packedCount;
    const first = count < this.#maxPacked ? 0 : this.#nextPacked;
    const packed = Array.from({ length: count }, (_, index) => {
      const place = (first + index) % count;
      return this.#unpacked.get(place) ?? this.#packed.get(place);
    });
    const { length } = this.#live;
    const live = this.#live.map((_, index) => this.#live[(this.#nextLive + index) % length]!);
    return [...packed, ...live];
  }

  #pack(trace: RequestTrace): void {
    const place = this.#nextPacked;
    if (isSettled(trace) && this.#packed.set(place, trace)) this.#unpacked.delete(place);
    else this.#unpacked.set(place, trace);
    this.#nextPacked = (place + 1) % this.#maxPacked;
    if (this.#packedCount < this.#maxPacked) this.#packedCount += 1;
  }
}

/** False for a stream of which its engine has not said its last word. */
function isSettled({ stream, events }: RequestTrace): boolean {
  return !stream || events !== undefined;
}
