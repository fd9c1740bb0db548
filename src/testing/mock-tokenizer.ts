/** Token that ends a reply; it has no text. */
export const endOfSequenceToken = 0;

const words =
  "amber river stone cloud violet harbor ember meadow silver cedar orbit lantern maple canyon drift echo falcon glacier " +
  "hollow island jasmine kettle lagoon marble nectar opal prairie quartz ripple saffron timber umbra valley willow " +
  "yonder zephyr anchor beacon copper dawn elm fable garnet hazel ivory juniper kelp lilac mosaic nimbus onyx pebble " +
  "café naïve Straße 東京 日本語 深圳 안녕 мир שלום 🦊 🚀 👩‍🚀 ✨";

/** Words the mock engine answers with; some take several bytes each. */
export const replyWords: readonly string[] = words.split(" ");

/** How the arguments of a mock tool call begin and end. */
export const toolArgumentsStart = '{"text":"';
export const toolArgumentsEnd = '"}';

// Ids 1 to vocabularySize stand for whole words; larger ids spell one to four bytes (base 257, so that every
// byte string of that length has its own id).
const vocabulary: readonly string[] = [
  "",
  ...replyWords.flatMap((word) => [word, ` ${word}`]),
  toolArgumentsStart,
  toolArgumentsEnd,
];
const vocabularySize = vocabulary.length - 1;
const idOfText = new Map(vocabulary.map((text, id) => [text, id] as const).filter(([text]) => text !== ""));
const encoder = new TextEncoder();
const maxId = vocabularySize + 257 ** 4 - 1;

/** Id of a reply word, with or without the space before it. */
export function replyToken(wordIndex: number, spaceBefore: boolean): number {
  return 1 + wordIndex * 2 + (spaceBefore ? 1 : 0);
}

/** Ids of how tool arguments begin and end. */
export const toolArgumentsStartToken = vocabularySize - 1;
export const toolArgumentsEndToken = vocabularySize;

/** Text of one vocabulary token of a reply. */
export function replyTokenText(token: number): string {
  return vocabulary[token] ?? "";
}

/**
 * Tokens of a text: one for each word of the vocabulary, else one for every four bytes. Deterministic, and
 * {@link decodeTokens} gives the text back (lone surrogates become U+FFFD).
 */
export function encodeText(text: string): number[] {
  const tokens: number[] = [];
  const length = text.length;
  let start = 0;
  while (start < length) {
    // A piece is an optional space and what follows it up to the next space.
    let end = start + 1;
    while (end < length && text.charCodeAt(end) !== 0x20) end++;
    const piece = text.slice(start, end);
    const known = piece.length <= 16 ? idOfText.get(piece) : undefined;
    if (known === undefined) pushBytes(piece, tokens);
    else tokens.push(known);
    start = end;
  }
  return tokens;
}

function pushBytes(piece: string, tokens: number[]): void {
  const bytes = encoder.encode(piece);
  for (let index = 0; index < bytes.length; index += 4) {
    let id = 0;
    for (let offset = Math.min(index + 4, bytes.length) - 1; offset >= index; offset--) {
      id = id * 257 + (bytes[offset] ?? 0) + 1;
    }
    tokens.push(vocabularySize + id);
  }
}

/** Text of tokens. Ids that no text encodes to become U+FFFD, as a real tokenizer's unknown token would. */
export function decodeTokens(tokens: readonly number[]): string {
  const bytes: number[] = [];
  for (const token of tokens) {
    if (token > vocabularySize && token <= maxId && Number.isInteger(token)) {
      for (let rest = token - vocabularySize; rest > 0; rest = Math.floor(rest / 257))
        bytes.push((rest % 257) - 1);
    } else if (token >= 0 && token <= vocabularySize && Number.isInteger(token)) {
      for (const byte of encoder.encode(vocabulary[token] ?? "")) bytes.push(byte);
    } else {
      bytes.push(0xef, 0xbf, 0xbd);
    }
  }
  return new TextDecoder().decode(Uint8Array.from(bytes, (byte) => (byte < 0 ? 0xff : byte)));
}

/** A 32-bit hash of tokens, which the mock's replies are made from. */
export function hashTokens(tokens: readonly number[], salt: number): number {
  let hash = (0x811c9dc5 ^ salt) >>> 0;
  for (const token of tokens) {
    hash = Math.imul(hash ^ (token >>> 0), 0x01000193);
    hash = Math.imul(hash ^ Math.floor(token / 0x1_0000_0000) ^ (hash >>> 15), 0x85ebca6b);
  }
  return mix(hash);
}

/** Scrambles 32 bits so that near numbers give far ones. */
export function mix(value: number): number {
  let mixed = value >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}
