import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventGlance } from "../protocol/event-glance.ts";
import { hostileStream } from "../protocol/event-stream.fixture.ts";
import { RawJson } from "../protocol/raw-json.ts";
import { scrubEvents } from "./event-scrubber.ts";

/** How much of a piece a glance is enough for. */
function plainLength(text: string, hasContent: boolean): number {
  const glance = new EventGlance();
  glance.take(text, hasContent);
  return glance.length;
}

const scrubbed = (text: string): string => Buffer.from(scrubEvents(Buffer.from(text))).toString();

describe("events for a client", () => {
  it.each(["kv_transfer_params", "ec_transfer_params"])("lose %s, and nothing else", (field) => {
    const event = (more: string): string => `data: {"id":12345678901234567890,"choices":[]${more}}\n\n`;
    const others = `: ping\n\n${event(',"text":"é _transfer_params"')}`;
    expect(scrubbed(`${event(`,"${field}":{"a":[1]}`)}${others}data: [DONE]\n\n`)).toBe(
      `${event("")}${others}data: [DONE]\n\n`,
    );
  });

  it.each([
    'data:  {"choices":[],"kv_transfer_params":{}}',
    'data:{"choices":[],"kv_transfer_params":{}}',
    String.raw`data: {"choices":[],"kv\u005ftransfer_params":{}}`,
    String.raw`data: {"choices":[],"kv\u005Ftransfer\u005fparams":{}}`,
  ])("lose it however it is written: %s", (event) => {
    expect(plainLength(`${event}\n\n`, true)).toBe(0);
    const start = event.slice(0, event.indexOf("{"));
    expect(scrubbed(`${event}\n\n`)).toBe(`${start}{"choices":[]}\n\n`);
  });

  it("are the same bytes when there is nothing to take out", () => {
    const events = Buffer.from('data: {"choices":[],"usage":null}\n\n');
    expect(scrubEvents(events)).toBe(events);
  });

  it("are the same bytes when a glance was enough, so that nobody need look", () => {
    const details = (): RawJson => new RawJson(Buffer.from('{"cached_tokens":1}'));
    fc.assert(
      fc.property(hostileStream, fc.boolean(), (pieces, hasContent) => {
        for (const piece of pieces) {
          const bytes = Buffer.from(piece);
          const events = bytes.subarray(0, plainLength(bytes.toString("latin1"), hasContent));
          expect(scrubEvents(events, details)).toEqual(events);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
