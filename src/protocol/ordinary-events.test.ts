import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventAligner } from "./event-aligner.ts";
import { hostileStream, ordinaryEvent } from "./event-stream.fixture.ts";
import { EventStreamMonitor } from "./event-stream-monitor.ts";
import { countOrdinaryEvents } from "./ordinary-events.ts";

const count = (text: string): number => countOrdinaryEvents(Buffer.from(text).toString("latin1"));
const chunk = (more: string): string => `data: {"id":"a","choices":[]${more}}\n\n`;

/** A monitor that has seen the answer begin. */
function begunMonitor(): EventStreamMonitor {
  const monitor = new EventStreamMonitor({ expectedChoices: 1 });
  monitor.push(Buffer.from(ordinaryEvent));
  return monitor;
}

/** All that a monitor has to say. */
function verdict(monitor: EventStreamMonitor): readonly unknown[] {
  const { state, eventCount, endsAt, sawContent, sawDone, isComplete, malformed, brokeOff, opaque } = monitor;
  const flags = [sawContent, sawDone, isComplete, malformed, brokeOff, opaque];
  return [state, eventCount, endsAt, flags, monitor.error, [...monitor.finishReasons], monitor.usage];
}

describe("Ordinary events", () => {
  it.each([
    ["a token", ordinaryEvent, 1],
    ["several tokens", ordinaryEvent.repeat(64), 64],
    ["text beyond ASCII", chunk(',"text":"漢字\u00a0😀"'), 1],
    ["fields that say null", chunk(',"finish_reason":null,"stop_reason":null,"usage":null'), 1],
    [
      "text about usage",
      chunk(String.raw`,"text":"\"usage\":{ {\"error\":1} \"finish_reason\":\"stop\""`),
      1,
    ],
  ])("are %s", (_, text, expected) => {
    expect(count(text)).toBe(expected);
  });

  it.each([
    ["the end", "data: [DONE]\n\n"],
    ["a finish reason", chunk(',"finish_reason":"stop"')],
    ["a finish reason with space", chunk(',"finish_reason" : "stop"')],
    ["a finish reason after one that is null", chunk(',"finish_reason":null,"finish_reason":"stop"')],
    ["usage", chunk(',"usage":{"prompt_tokens":1}')],
    ["usage with space", chunk(',"usage" : {}')],
    ["usage under an escaped key beside a null", chunk(String.raw`,"usage":null,"us\u0061ge":{}`)],
    ["a field between engines", chunk(',"kv_transfer_params":null')],
    ["an error", 'data: {"error":{"message":"no"}}\n\n'],
    ["a named event", `event: error\n${ordinaryEvent}`],
    ["a comment", `: ping\n\n${ordinaryEvent}`],
    ["data without the space", ordinaryEvent.replace(" ", "")],
    ["data of two lines", ordinaryEvent.replace(",", ",\ndata: ")],
    ["other line breaks", ordinaryEvent.replaceAll("\n", "\r\n")],
    ["an event cut short", ordinaryEvent.slice(0, -1)],
    ["an object cut short", ordinaryEvent.replace("}\n", "\n")],
    ["a line break too many", `\n${ordinaryEvent}`],
    ["an event that follows no blank line", ordinaryEvent.slice(0, -1) + ordinaryEvent],
  ])("are not %s", (_, text) => {
    expect(count(text)).toBe(0);
    expect(count(ordinaryEvent + text)).toBe(0);
  });

  it("are none in an empty piece", () => {
    expect(count("")).toBe(0);
  });

  it("leave a monitor as a closer look at them would, whatever comes and wherever it is cut", () => {
    fc.assert(
      fc.property(hostileStream, (pieces) => {
        const short = begunMonitor();
        const long = begunMonitor();
        for (const piece of pieces) {
          const bytes = Buffer.from(piece);
          if (!short.pushOrdinary(bytes.toString("latin1"))) short.push(bytes);
          long.push(bytes);
          expect(verdict(short)).toEqual(verdict(long));
        }
        short.finish();
        long.finish();
        expect(verdict(short)).toEqual(verdict(long));
      }),
      { numRuns: 1000 },
    );
  });

  it("are whole events", () => {
    fc.assert(
      fc.property(hostileStream, (pieces) => {
        const bytes = Buffer.from(pieces.join(""));
        fc.pre(countOrdinaryEvents(bytes.toString("latin1")) > 0);
        expect(new EventAligner().take(bytes)).toEqual(bytes);
      }),
    );
  });
});
