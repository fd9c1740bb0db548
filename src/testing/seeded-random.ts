import type { Random } from "../internal/random.ts";

/**
 * Randomness that repeats: the same seed gives the same numbers and the same ids. Its ids can be guessed, so it
 * is for tests and demonstrations only.
 *
 * @param seed any number; only its lower 32 bits count
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const nextUint32 = (): number => {
    // Mulberry32: small, well distributed, and the same on every machine.
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return {
    next: () => nextUint32() / 0x1_0000_0000,
    id: () => {
      let id = "";
      for (let part = 0; part < 4; part++) id += nextUint32().toString(16).padStart(8, "0");
      return id;
    },
  };
}
