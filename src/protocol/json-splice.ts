import type { JsonObjectIndex } from "./json-object-index.ts";
import type { JsonMember } from "./json-scanner.ts";
import { RawJson } from "./raw-json.ts";

/** Changes to the top level of a JSON object. A key that is both set and removed is set. */
export interface JsonEdits {
  /** Values by key: anything `JSON.stringify` takes, or {@link RawJson} to be copied verbatim. */
  readonly set?: Readonly<Record<string, unknown>> | undefined;
  /** Keys to drop, every duplicate of them. Keys that are not there are no error. */
  readonly remove?: readonly string[] | undefined;
}

const encoder = new TextEncoder();

/**
 * The object with the edits applied, as parts to be sent one after the other: views of the original bytes and
 * the few new ones. What is not edited stays byte for byte as it came: 64-bit integers, number formats,
 * whitespace, order, duplicates.
 *
 * A key in `set` that exists is replaced where it last stands (earlier duplicates go); a new one is appended.
 *
 * @throws {TypeError} when a value in `set` is not JSON (undefined, a function, a bigint, a cycle)
 */
export function spliceJsonObject(index: JsonObjectIndex, edits: JsonEdits): readonly Uint8Array[] {
  const { bytes, members } = index;
  const set = edits.set ?? {};
  const setKeys = Object.keys(set);
  const removed = edits.remove ?? [];
  if (setKeys.length === 0 && removed.length === 0) return [bytes];

  const fateOf = (member: JsonMember): MemberFate => {
    // The last duplicate is the one that counts.
    if (setKeys.includes(member.key)) return index.isLast(member) ? "replace" : "drop";
    return removed.includes(member.key) ? "drop" : "keep";
  };
  let lastKept = members.length - 1;
  while (lastKept >= 0 && fateOf(members[lastKept] as JsonMember) === "drop") lastKept -= 1;

  const output = new PartList(bytes);
  for (let position = 0; position <= lastKept; position += 1) {
    const member = members[position] as JsonMember;
    const fate = fateOf(member);
    if (fate === "replace") {
      output.copyUntil(member.valueStart);
      output.addValue(member.key, set[member.key]);
      output.skipTo(member.valueEnd);
    } else if (fate === "drop") {
      // A kept member follows: what lies up to it, comma included, goes with this one.
      output.copyUntil(member.memberStart);
      output.skipTo((members[position + 1] as JsonMember).memberStart);
    }
  }

  const added = setKeys.filter((key) => !index.has(key));
  if (lastKept < members.length - 1 || added.length > 0) {
    const lastMember = members[members.length - 1];
    output.copyUntil(lastKept < 0 ? index.openOffset + 1 : (members[lastKept] as JsonMember).valueEnd);
    let separator = lastKept < 0 ? "" : ",";
    for (const key of added) {
      output.addText(`${separator}${JSON.stringify(key)}:`);
      output.addValue(key, set[key]);
      separator = ",";
    }
    // Whitespace before the brace stays where a member stays, and goes with the last one.
    output.skipTo(lastKept < 0 || lastMember === undefined ? index.closeOffset : lastMember.valueEnd);
  }
  output.copyUntil(bytes.length);
  return output.finish();
}

/** Length of all parts together, in bytes. */
export function byteLength(parts: readonly Uint8Array[]): number {
  let total = 0;
  for (const part of parts) total += part.byteLength;
  return total;
}

type MemberFate = "keep" | "replace" | "drop";

/** Collects parts: runs of the original as views, new text encoded once for each run of it. */
class PartList {
  readonly #source: Uint8Array;
  readonly #parts: Uint8Array[] = [];
  #cursor = 0;
  #text = "";

  constructor(source: Uint8Array) {
    this.#source = source;
  }

  copyUntil(end: number): void {
    if (end > this.#cursor) this.#push(this.#source.subarray(this.#cursor, end));
    this.#cursor = end;
  }

  skipTo(position: number): void {
    this.#cursor = position;
  }

  addText(text: string): void {
    this.#text += text;
  }

  addValue(key: string, value: unknown): void {
    if (value instanceof RawJson) {
      this.#push(value.bytes);
      return;
    }
    const text = JSON.stringify(value) as string | undefined;
    if (text === undefined)
      throw new TypeError(`Cannot set "${key}": expected a JSON value, got ${typeof value}.`);
    this.#text += text;
  }

  finish(): readonly Uint8Array[] {
    this.#flushText();
    return this.#parts;
  }

  #push(part: Uint8Array): void {
    this.#flushText();
    this.#parts.push(part);
  }

  #flushText(): void {
    if (this.#text === "") return;
    this.#parts.push(encoder.encode(this.#text));
    this.#text = "";
  }
}
