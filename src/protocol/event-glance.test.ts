import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventAligner } from "./event-aligner.ts";
import { EventGlance } from "./event-glance.ts";
import { finishingEvent, hostileStream, openingEvent, ordinaryEvent } from "./event-stream.fixture.ts";
import { EventStreamMonitor } from "./event-stream-monitor.ts";

/** What a glance says of a text. */
function glance(text: string, hasContent = true): EventGlance {
  const said = new EventGlance();
  said.take(Buffer.from(text).toString("latin1"), hasContent);
  return said;
}

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

describe("A glance at events", () => {
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
  ])("is enough for %s", (_, text, expected) => {
    expect(glance(text)).toMatchObject({
      events: expected,
      length: Buffer.byteLength(text),
      finishReason: undefined,
    });
  });

  it.each([
    ["the end", "data: [DONE]\n\n"],
    ["a finish reason of no choice", chunk(',"finish_reason":"stop"')],
    ["a finish reason that only vLLM has", finishingEvent.replace("length", "abort")],
    ["a finish reason of one of two choices", finishingEvent.replace("]", ',{"index":1}]')],
    [
      "a finish reason that is taken back",
      finishingEvent.replace("]", "]").replace('"length"', '"length","finish_reason":null'),
    ],
    ["a finish reason beside usage", finishingEvent.replace("]}", '],"usage":{}}')],
    [
      "a finish reason within the delta",
      ordinaryEvent.replace('"content"', '"finish_reason":"stop","content"'),
    ],
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
  ])("is not enough for %s, only for what comes before", (_, text) => {
    expect(glance(text)).toMatchObject({ events: 0, length: 0 });
    const { length } = ordinaryEvent;
    expect(glance(ordinaryEvent + text)).toMatchObject({ events: 1, length, finishReason: undefined });
    expect(glance(ordinaryEvent + text, false)).toMatchObject({ events: 1, length, finishReason: undefined });
  });

  it.each([
    ["the role", openingEvent, false],
    ["a field that only says null beside it", openingEvent.replace('""', '"","reasoning":null'), false],
    ["a token", ordinaryEvent, true],
    ["a token with the role", openingEvent.replace('""', '"a"'), true],
    ["a token of a completion", ordinaryEvent.replace('"delta":{"content":" a"}', '"text":"a"'), true],
    ["a thought", ordinaryEvent.replace("content", "reasoning"), true],
    ["the role, then a token", openingEvent + ordinaryEvent, true],
    ["the role, then only a finish reason", openingEvent + finishingEvent.replace(" a", ""), true],
  ])("tells whether an answer begins: %s", (_, text, begins) => {
    expect(glance(text, false)).toMatchObject({ length: text.length, hasContent: begins });
  });

  it.each([
    ["an object cut short", ordinaryEvent.replace("]}", "}")],
    ["what is no token that is known", ordinaryEvent.replace("content", "audio")],
    ["an error beside a token", ordinaryEvent.replace('"id"', '"error":{},"id"')],
    ["an escape, which may be in a name", ordinaryEvent.replace(" a", String.raw`\n`)],
    ["choices that are none", ordinaryEvent.replace("]}", '],"choices":null}')],
  ])("does not tell whether an answer begins from %s", (_, text) => {
    expect(glance(text, false)).toMatchObject({ length: 0, hasContent: false });
    expect(glance(openingEvent + text, false)).toMatchObject({
      length: openingEvent.length,
      hasContent: false,
    });
  });

  it("sees the end of an only choice, and stops there", () => {
    const finishing = finishingEvent.replace('"index":0', '"index":3');
    const text = ordinaryEvent + finishing;
    for (const rest of ["", "data: [DONE]\n\n", ordinaryEvent, finishing]) {
      expect(glance(text + rest)).toMatchObject({
        length: text.length,
        events: 2,
        finishedIndex: 3,
        finishReason: "length",
      });
    }
  });

  it("needs a text", () => {
    expect(glance("")).toMatchObject({ events: 0, length: 0 });
  });

  it.each([
    ["that has begun", begunMonitor],
    ["at its beginning", () => new EventStreamMonitor({ expectedChoices: 1 })],
    ["of several choices", () => new EventStreamMonitor({ expectedChoices: 3 })],
  ])("leaves a monitor %s as a closer look would, whatever comes and wherever it is cut", (_, monitor) => {
    fc.assert(
      fc.property(hostileStream, (pieces) => {
        const short = monitor();
        const long = monitor();
        for (const piece of pieces) {
          const bytes = Buffer.from(piece);
          const wasDone = short.sawDone;
          const taken = short.takeAtAGlance(bytes.toString("latin1"));
          if (short.sawDone === wasDone) short.push(bytes.subarray(taken));
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

  it("takes whole events", () => {
    fc.assert(
      fc.property(hostileStream, fc.boolean(), (pieces, hasContent) => {
        const bytes = Buffer.from(pieces.join(""));
        const { length, events } = glance(pieces.join(""), hasContent);
        fc.pre(length > 0);
        const taken = bytes.subarray(0, length);
        expect(new EventAligner().take(taken)).toEqual(taken);
        expect(taken.toString("latin1").split("\n\n")).toHaveLength(events + 1);
      }),
    );
  });
});
