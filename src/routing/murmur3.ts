const c1 = 0xcc9e2d51;
const c2 = 0x1b873593;

/**
 * MurmurHash3 (x86, 32 bits) over the UTF-16 code units of a text, two at a time. For spreading, never for
 * secrets. Not the value other implementations give for the UTF-8 bytes.
 *
 * @returns an unsigned 32-bit integer
 */
export function hash32(text: string, seed = 0): number {
  let hash = seed | 0;
  const { length } = text;
  const paired = length & ~1;
  for (let index = 0; index < paired; index += 2) {
    hash ^= mixBlock(text.charCodeAt(index) | (text.charCodeAt(index + 1) << 16));
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  if (paired < length) hash ^= mixBlock(text.charCodeAt(paired));
  hash ^= length * 2;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function mixBlock(block: number): number {
  const mixed = Math.imul(block, c1);
  return Math.imul((mixed << 15) | (mixed >>> 17), c2);
}
