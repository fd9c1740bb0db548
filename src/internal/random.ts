import { randomBytes } from "node:crypto";

/** Randomness, as this library sees it; injected so that tests can seed it. */
export interface Random {
  /** A number in [0, 1). For choices, never for identifiers. */
  next(): number;
  /** 32 lower-case hexadecimal digits (128 bits) that cannot be guessed. */
  id(): string;
}

const poolBytes = 4096;
let pool = Buffer.alloc(0);
let offset = 0;

/** The process's own randomness: `crypto` for identifiers. */
export const systemRandom: Random = {
  next: () => Math.random(),
  id() {
    // One call to the system's generator serves 256 identifiers.
    if (offset + 16 > pool.length) {
      pool = randomBytes(poolBytes);
      offset = 0;
    }
    const id = pool.toString("hex", offset, offset + 16);
    offset += 16;
    return id;
  },
};
