import { createParser } from "eventsource-parser";
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { doneEvent, errorEvent } from "./event-stream-text.ts";

it("is always exactly one event, whatever the message", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.constantFrom("\n\ndata: [DONE]\n\n", "a\r\rb", "\u2028")),
      (message) => {
        const body = { error: { message, type: "engine_error", param: null, code: "x" } };
        const events: string[] = [];
        const parser = createParser({ onEvent: ({ data }) => events.push(data) });
        parser.feed(new TextDecoder().decode(errorEvent(body)));
        expect(events).toHaveLength(1);
        expect(JSON.parse(events[0] as string)).toEqual(body);
      },
    ),
  );
});

it("ends a stream as OpenAI does", () => {
  expect(new TextDecoder().decode(doneEvent())).toBe("data: [DONE]\n\n");
});
