import { unexpected } from "./json-scan-error.ts";

const minus = 0x2d;
const dot = 0x2e;
const zero = 0x30;

/**
 * End of a number, `true`, `false` or `null`.
 *
 * @param from where to look on for the end of a number that the bytes ended in before; else `position`
 * @param final true when there will be no more bytes
 * @returns the position after it; -1 when it may go on behind the bytes there are
 * @throws JsonScanError
 */
export function scalarEnd(bytes: Uint8Array, position: number, from: number, final: boolean): number {
  const first = bytes[position] as number;
  const literal = literalOf(first);
  if (literal !== undefined) {
    if (!final && position + literal.length > bytes.length) return -1;
    return literalEnd(bytes, literal, position);
  }
  if (first !== minus && !isDigit(first)) throw unexpected(bytes, "a value", position);
  if (!final && numberMayGoOn(bytes, from)) return -1;
  return numberEnd(bytes, position);
}

function literalOf(first: number): string | undefined {
  if (first === 0x74) return "true";
  if (first === 0x66) return "false";
  return first === 0x6e ? "null" : undefined;
}

function literalEnd(bytes: Uint8Array, literal: string, position: number): number {
  for (let index = 1; index < literal.length; index += 1) {
    if (bytes[position + index] !== literal.charCodeAt(index))
      throw unexpected(bytes, literal, position + index);
  }
  return position + literal.length;
}

function numberMayGoOn(bytes: Uint8Array, from: number): boolean {
  let position = from;
  while (position < bytes.length && isNumberByte(bytes[position] as number)) position += 1;
  return position === bytes.length;
}

function numberEnd(bytes: Uint8Array, start: number): number {
  let position = bytes[start] === minus ? start + 1 : start;
  position = bytes[position] === zero ? position + 1 : digitsEnd(bytes, position);
  if (bytes[position] === dot) position = digitsEnd(bytes, position + 1);
  const exponent = bytes[position];
  if (exponent === 0x65 || exponent === 0x45) {
    const sign = bytes[position + 1];
    position = digitsEnd(bytes, sign === minus || sign === 0x2b ? position + 2 : position + 1);
  }
  return position;
}

/** One digit or more. */
function digitsEnd(bytes: Uint8Array, from: number): number {
  let position = from;
  if (!isDigit(bytes[position] ?? -1)) throw unexpected(bytes, "a digit", position);
  do position += 1;
  while (isDigit(bytes[position] ?? -1));
  return position;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function isNumberByte(byte: number): boolean {
  return isDigit(byte) || byte === minus || byte === 0x2b || byte === dot || byte === 0x65 || byte === 0x45;
}
