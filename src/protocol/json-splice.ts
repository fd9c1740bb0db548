import { joinBytes } from "../internal/join-bytes.ts";
import type { JsonObjectIndex } from "./json-object-index.ts";
import { RawJson } from "./raw-json.ts";

/** Changes to the top level of a JSON object. A key that is both set and removed is set. */
export interface JsonEdits {
  /** Values by key: anything `JSON.stringify` takes, or {@link RawJson} to be copied verbatim. */
  readonly set?: Readonly<Record<string, unknown>> | undefined;
  /** Keys to drop, every duplicate of them. Keys that are not there are no error. */
  readonly remove?: readonly string[] | undefined;
}

/** Below this many bytes the result is one piece: that costs less than to keep and to send several. */
const onePieceBelow = 128 * 1024;
/** Up to here a loop costs less than a call. */
const shortPart = 16;
const nothing: Readonly<Record<string, unknown>> = Object.freeze({});

/**
 * The object with the edits applied: one piece when it is small, else parts to be sent one after the other, views of the
 * original bytes and the few new ones. What is not edited stays byte for byte as it came: 64-bit integers, number
 * formats, whitespace, order, duplicates.
 *
 * A key in `set` that exists is replaced where it last stands (earlier duplicates go); a new one is appended.
 *
 * @throws {TypeError} when a value in `set` is not JSON (undefined, a function, a bigint, a cycle)
 */
export function spliceJsonObject(index: JsonObjectIndex, edits: JsonEdits): readonly Uint8Array[] {
  const { bytes, members } = index;
  const set = edits.set ?? nothing;
  const setKeys = Object.keys(set);
  const removed = edits.remove ?? [];
  const output = new SplicedText(bytes);
  let replaced = 0;
  // Where the members begin that go, of those up to here; -1 for none.
  let goneFrom = -1;
  let keptEnd = -1;
  for (const member of members) {
    const { key } = member;
    const isSet = setKeys.includes(key);
    // The last duplicate is the one that counts.
    if (isSet ? !index.isLast(member) : removed.includes(key)) {
      if (goneFrom < 0) goneFrom = member.memberStart;
      continue;
    }
    if (goneFrom >= 0) {
      // The comma before this member goes, too.
      output.skip(goneFrom, member.memberStart);
      goneFrom = -1;
    }
    if (isSet) {
      output.skip(member.valueStart, member.valueEnd);
      output.add(valueBytes(key, set[key]));
      replaced += 1;
    }
    keptEnd = member.valueEnd;
  }
  if (goneFrom >= 0 || replaced < setKeys.length) {
    // Whitespace before the brace stays where a member stays, and goes with the last one.
    if (keptEnd < 0) output.skip(index.openOffset + 1, index.closeOffset);
    else output.skip(keptEnd, members[members.length - 1]!.valueEnd);
    let isFirst = keptEnd < 0;
    for (const key of setKeys) {
      if (index.has(key)) continue;
      output.add(isFirst ? keyBytes(key).subarray(1) : keyBytes(key));
      output.add(valueBytes(key, set[key]));
      isFirst = false;
    }
  }
  return output.finish();
}

/** {@link spliceJsonObject} in one piece, whatever its size. */
export function splicedJson(index: JsonObjectIndex, edits: JsonEdits): Buffer {
  return joinBytes(spliceJsonObject(index, edits));
}

/** Collects what a text consists of: runs of the original and new pieces. */
class SplicedText {
  readonly #source: Uint8Array;
  readonly #parts: Uint8Array[] = [];
  #size = 0;
  #cursor = 0;

  constructor(source: Uint8Array) {
    this.#source = source;
  }

  /** Takes the original up to `from`, and goes on with it at `to`. */
  skip(from: number, to: number): void {
    if (from > this.#cursor) this.add(this.#source.subarray(this.#cursor, from));
    this.#cursor = to;
  }

  add(part: Uint8Array): void {
    this.#parts.push(part);
    this.#size += part.length;
  }

  finish(): readonly Uint8Array[] {
    const { length } = this.#source;
    if (this.#cursor === 0) return [this.#source];
    this.skip(length, length);
    return this.#size < onePieceBelow ? [joined(this.#parts, this.#size)] : this.#parts;
  }
}

function joined(parts: readonly Uint8Array[], size: number): Buffer {
  const whole = Buffer.allocUnsafe(size);
  let position = 0;
  for (const part of parts) {
    if (part.length > shortPart) whole.set(part, position);
    else for (let index = 0; index < part.length; index += 1) whole[position + index] = part[index] as number;
    position += part.length;
  }
  return whole;
}

function valueBytes(key: string, value: unknown): Uint8Array {
  if (value instanceof RawJson) return value.bytes;
  const text = JSON.stringify(value) as string | undefined;
  if (text !== undefined) return Buffer.from(text);
  throw new TypeError(`Cannot set "${key}": expected a JSON value, got ${typeof value}.`);
}

/** The keys that are set are few, and the same for every request. */
const knownKeys = new Map<string, Buffer>();
const mostKnownKeys = 256;

/** A comma, the key and its colon. */
function keyBytes(key: string): Buffer {
  const known = knownKeys.get(key);
  if (known !== undefined) return known;
  const bytes = Buffer.from(`,${JSON.stringify(key)}:`);
  if (knownKeys.size < mostKnownKeys) knownKeys.set(key, bytes);
  return bytes;
}
