import { createParser } from "eventsource-parser";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { startOfEvent } from "./start-of-event.ts";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

function before(text: string, number: number, withinEvent = false): string {
  const bytes = bytesOf(text);
  return new TextDecoder().decode(bytes.subarray(0, startOfEvent(bytes, number, withinEvent)));
}

describe("startOfEvent", () => {
  it("is where the event's first line begins, its name and comments included", () => {
    const text = "data: a\n\n: ping\n\nevent: error\ndata: b\n\ndata: c\n\n";
    expect(before(text, 1)).toBe("");
    expect(before(text, 2)).toBe("data: a\n\n: ping\n\n");
    expect(before(text, 3)).toBe("data: a\n\n: ping\n\nevent: error\ndata: b\n\n");
    expect(before(text, 4)).toBe(text);
  });

  it("is not led astray by what looks like an event within one", () => {
    const text = 'data: {"a":"x"}\n\ndata: {"message":"data: [DONE]","error":1}\n\n';
    expect(before(text, 2)).toBe('data: {"a":"x"}\n\n');
  });

  it("counts the rest of an event that began before", () => {
    expect(before('rest"}\n\ndata: b\n\n', 2, true)).toBe('rest"}\n\n');
    expect(before('rest"}\n\ndata: b\n\n', 1, true)).toBe("");
  });

  it("counts a last event without its blank line", () => {
    expect(before("data: a\n\ndata: b", 2)).toBe("data: a\n\n");
    expect(before("data: a\n\ndata: b\n", 2)).toBe("data: a\n\n");
  });

  it("is the same when the event is looked for from the end", () => {
    const line = fc.constantFrom("data: x", "data:y", "data", "dat: no", ": c", "event: e", "");
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 14 }),
        fc.constantFrom("\n", "\r\n"),
        fc.boolean(),
        fc.constantFrom("", "\n", "\n\n", "\n\n\n"),
        (lines, eol, withinEvent, tail) => {
          const bytes = bytesOf(lines.join(eol) + tail);
          let last = 0;
          while (startOfEvent(bytes, last + 1, withinEvent) < bytes.length) last += 1;
          if (last === 0) return;
          expect(startOfEvent(bytes, last, withinEvent, true)).toBe(startOfEvent(bytes, last, withinEvent));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("counts events as a parser does, whatever the line breaks", () => {
    const line = fc.constantFrom("data: x", "data:y", "data", "dat: no", ": c", "event: e", "id: 1", "");
    const lineBreak = fc.constantFrom("\n", "\r\n", "\r");
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 14 }),
        lineBreak,
        fc.integer({ min: 1, max: 6 }),
        (lines, eol, number) => {
          const text = `${lines.join(eol)}${eol}${eol}`;
          const count = (part: string): number => {
            let events = 0;
            createParser({ onEvent: () => (events += 1) }).feed(`${part}${eol}`);
            return events;
          };
          const kept = before(text, number);
          expect(text.startsWith(kept)).toBe(true);
          expect(count(kept)).toBe(Math.min(number - 1, count(text)));
        },
      ),
    );
  });
});
