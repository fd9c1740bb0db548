import { randomBytes } from "node:crypto";

/** Randomness, as this library sees it; injected so that tests can seed it. */
export interface Random {
  /** A number in [0, 1). For choices, never for identifiers. */
  next(): number;
  /** 32 lower-case hexadecimal digits (128 bits) that cannot be guessed. */
  id(): string;
}

const idDigits = 32;
const pooledIds = 256;
let pool = "";
let offset = 0;

/** The process's own randomness: `crypto` for identifiers. */
export const systemRandom: Random = {
  next: () => Math.random(),
  id() {
    // One call to the system's generator, and one to write its bytes out, serve many identifiers.
    if (offset === pool.length) {
      pool = randomBytes((pooledIds * idDigits) / 2).toString("hex");
      offset = 0;
    }
    const id = pool.slice(offset, offset + idDigits);
    offset += idDigits;
    return id;
  },
};
