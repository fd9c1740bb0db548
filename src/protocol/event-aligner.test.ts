import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventAligner } from "./event-aligner.ts";

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

describe("EventAligner", () => {
  it("lets through whole events only, byte for byte, wherever they are cut and whatever ends their lines", () => {
    const part = fc.constantFrom("data: a", ": c", "", "\n", "x");
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 12 }),
        fc.constantFrom("\n", "\r\n", "\r"),
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 6 }),
        (parts, eol, sizes) => {
          const whole = Buffer.from(parts.join(eol) + eol + eol, "latin1");
          const aligner = new EventAligner();
          let out = "";
          for (let position = 0, turn = 0; position < whole.length; turn += 1) {
            const size = sizes[turn % sizes.length]!;
            const taken = text(aligner.take(whole.subarray(position, position + size)));
            if (taken !== "") expect(taken).toMatch(/(\n\n|\r\n\r\n|\r\r|\n\r\n)$/);
            out += taken;
            position += size;
            expect(out + text(aligner.held)).toBe(whole.subarray(0, position).toString("latin1"));
          }
          // At most a line break that follows a blank line.
          expect(text(aligner.held)).toMatch(/^[\r\n]{0,2}$/);
        },
      ),
      { numRuns: 500 },
    );
  });

  it("lets an event that is too large through in pieces, and says so", () => {
    const aligner = new EventAligner(10);
    expect(text(aligner.take(Buffer.from("data: 1234")))).toBe("");
    expect(aligner.withinEvent).toBe(false);
    expect(text(aligner.take(Buffer.from("5")))).toBe("data: 12345");
    expect(aligner.withinEvent).toBe(true);
    expect(text(aligner.take(Buffer.from("6\n\ndata: b")))).toBe("6\n\n");
    expect(aligner.withinEvent).toBe(false);
    expect(text(aligner.held)).toBe("data: b");
  });

  it("keeps a copy of what it holds", () => {
    const aligner = new EventAligner();
    const chunk = Buffer.from("data: a");
    aligner.take(chunk);
    chunk.fill(0);
    expect(text(aligner.take(Buffer.from("\n\n")))).toBe("data: a\n\n");
  });
});
