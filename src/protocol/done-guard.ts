const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const prefix = new TextEncoder().encode("data:");
const marker = new TextEncoder().encode("[DONE]");

/** What {@link DoneGuard.take} lets through. */
export interface GuardedChunk {
  /** Bytes to send on now; undefined when there are none. */
  readonly pass: Uint8Array | undefined;
}

/**
 * Lets a stream of server-sent events through but for the line `data: [DONE]` and what follows it, so that the
 * relay can decide at the end whether the client may hear that the answer is complete.
 *
 * Everything else passes at once; only the start of a line that may yet become that line waits for the next
 * chunk. Whatever the chunks, all that passed followed by {@link DoneGuard.held} is the input, byte for byte.
 * What comes after the line is kept without limit: stop reading when {@link DoneGuard.sawDone}.
 */
export class DoneGuard {
  #held: Uint8Array | undefined;
  #terminated = false;
  #atLineStart: boolean;

  /** @param options.withinLine true when the first chunk continues a line rather than starting one */
  constructor(options: { readonly withinLine?: boolean | undefined } = {}) {
    this.#atLineStart = options.withinLine !== true;
  }

  /** Bytes kept back so far: the line and all after it, or the start of what may be that line. */
  get held(): Uint8Array | undefined {
    return this.#held;
  }

  /** True when {@link held} is the line `data: [DONE]`. Final once its line break came; until then, as far as is known. */
  get sawDone(): boolean {
    return this.#terminated || (this.#held !== undefined && matchDone(this.#held, 0) === "unterminated");
  }

  take(chunk: Uint8Array): GuardedChunk {
    const input = this.#held === undefined ? chunk : join(this.#held, chunk);
    if (this.#terminated) {
      this.#held = input;
      return { pass: undefined };
    }
    // What was held is the start of a line.
    let atLineStart = this.#atLineStart || this.#held !== undefined;
    this.#held = undefined;
    let position = 0;
    while (position < input.length) {
      if (atLineStart) {
        const match = matchDone(input, position);
        if (match !== "no") {
          this.#terminated = match === "terminated";
          this.#held = input.subarray(position);
          break;
        }
      }
      position = lineEnd(input, position);
      atLineStart = position < input.length;
      if (atLineStart) position += 1;
    }
    this.#atLineStart = atLineStart;
    return { pass: position === 0 ? undefined : input.subarray(0, position) };
  }
}

/** Whether the line at `start` is `data: [DONE]`: with its line break, without it yet, still a prefix, or not at all. */
function matchDone(bytes: Uint8Array, start: number): "terminated" | "unterminated" | "prefix" | "no" {
  let position = start;
  for (const expected of prefix) {
    if (position === bytes.length) return "prefix";
    if (bytes[position] !== expected) return "no";
    position += 1;
  }
  if (bytes[position] === 0x20) position += 1;
  for (const expected of marker) {
    if (position === bytes.length) return "prefix";
    if (bytes[position] !== expected) return "no";
    position += 1;
  }
  if (position === bytes.length) return "unterminated";
  return bytes[position] === lineFeed || bytes[position] === carriageReturn ? "terminated" : "no";
}

function lineEnd(bytes: Uint8Array, from: number): number {
  let position = from;
  while (position < bytes.length && bytes[position] !== lineFeed && bytes[position] !== carriageReturn)
    position += 1;
  return position;
}

function join(first: Uint8Array, second: Uint8Array): Uint8Array {
  const joined = new Uint8Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}
