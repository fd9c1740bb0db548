import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventStreamMonitor } from "./event-stream-monitor.ts";

const role =
  '{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}';
const content = '{"choices":[{"index":0,"delta":{"content":"漢字😀"},"finish_reason":null}]}';
const stop = '{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop","stop_reason":null}]}';
const usage = '{"choices":[],"usage":{"prompt_tokens":5,"total_tokens":15,"completion_tokens":10}}';

function bytesOf(events: readonly string[], lineBreak = "\n"): Uint8Array {
  return new TextEncoder().encode(events.map((data) => `data: ${data}${lineBreak}${lineBreak}`).join(""));
}

function watch(
  bytes: Uint8Array,
  options: { size?: number; expectedChoices?: number; maxEventLength?: number } = {},
): EventStreamMonitor {
  const { size = bytes.length, expectedChoices = 1, maxEventLength } = options;
  const monitor = new EventStreamMonitor({ expectedChoices, maxEventLength });
  for (let position = 0; position < bytes.length; position += size)
    monitor.push(bytes.subarray(position, position + size));
  monitor.finish();
  return monitor;
}

const watchText = (text: string): EventStreamMonitor => watch(new TextEncoder().encode(text));

function summary(monitor: EventStreamMonitor): object {
  const { state, sawContent, sawDone, finishedChoices, isComplete, error, errorStatus, malformed, opaque } =
    monitor;
  return {
    state,
    sawContent,
    sawDone,
    finishedChoices,
    isComplete,
    error,
    errorStatus,
    malformed,
    opaque,
    usage: monitor.usage,
  };
}

describe("EventStreamMonitor", () => {
  it.each(["\n", "\r\n", "\r"])(
    "follows a complete stream with line break %j, cut at every byte",
    (lineBreak) => {
      const bytes = bytesOf([role, content, stop, usage, "[DONE]"], lineBreak);
      for (let size = 1; size <= bytes.length; size += size < 16 ? 1 : 37) {
        const monitor = watch(bytes, { size });
        expect(summary(monitor)).toEqual({
          state: "done",
          sawContent: true,
          sawDone: true,
          finishedChoices: 1,
          isComplete: true,
          error: undefined,
          errorStatus: undefined,
          malformed: false,
          opaque: false,
          usage: { prompt_tokens: 5, total_tokens: 15, completion_tokens: 10 },
        });
        expect([...monitor.finishReasons]).toEqual([[0, "stop"]]);
      }
    },
  );

  it("does not depend on where the chunks are cut", () => {
    const events = fc.array(
      fc.constantFrom(
        role,
        content,
        stop,
        usage,
        "[DONE]",
        '{"error": {"message": "ü", "code": 500}}',
        "{broken",
        '{"choices":[{"text":"a"}]}',
      ),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(
        events,
        fc.constantFrom("\n", "\r\n", "\r"),
        fc.integer({ min: 1, max: 50 }),
        (list, lineBreak, size) => {
          const bytes = bytesOf(list, lineBreak);
          expect(summary(watch(bytes, { size }))).toEqual(summary(watch(bytes)));
        },
      ),
    );
  });

  it.each<[string, boolean]>([
    [role, false],
    [usage, false],
    ['{"choices":[{"index":0,"text":"","finish_reason":null}]}', false],
    ['{"choices":[{"delta":{"content":null,"tool_calls":[]}}]}', false],
    ['{"choices":[null,1]}', false],
    ['{"choices":"none"}', false],
    [content, true],
    [stop, true],
    ['{"choices":[{"index":0,"text":" Hi","finish_reason":null}]}', true],
    ['{"choices":[{"delta":{"reasoning":"hm"}}]}', true],
    ['{"choices":[{"delta":{"reasoning_content":"hm"}}]}', true],
    ['{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}', true],
    ['{"choices":[{"delta":{"function_call":{"name":"f"}}}]}', true],
    ['{"choices":[{"token_ids":[1]}]}', true],
  ])("%s has content: %s", (event, expected) => {
    expect(watch(bytesOf([event])).sawContent).toBe(expected);
  });

  it("sees the swallowed error: the role chunk, then [DONE]", () => {
    const monitor = watch(bytesOf([role, "[DONE]"]));
    expect(monitor).toMatchObject({ sawContent: false, sawDone: true, isComplete: false });
  });

  it("waits for every choice, with or without an index", () => {
    const second = stop.replace('"index":0', '"index":1');
    expect(watch(bytesOf([content, stop, stop]), { expectedChoices: 2 }).isComplete).toBe(false);
    expect(watch(bytesOf([content, stop, second]), { expectedChoices: 2 }).isComplete).toBe(true);
    const both = '{"choices":[{"finish_reason":"stop"},{"finish_reason" : "length"}]}';
    expect([...watch(bytesOf([content, both]), { expectedChoices: 2 }).finishReasons.values()]).toEqual([
      "stop",
      "length",
    ]);
  });

  it("is not fooled by text that looks like a finish or a usage", () => {
    const quoted = JSON.stringify({ choices: [{ delta: { content: '"finish_reason":"stop","usage":{}' } }] });
    expect(watch(bytesOf([content, quoted, quoted]))).toMatchObject({ isComplete: false, usage: undefined });
  });

  it("reports an error event, before and after content, and keeps the first", () => {
    const error =
      '{"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "param": null, "code": 500}}';
    for (const before of [[], [role], [role, content]]) {
      const monitor = watch(bytesOf([...before, error, error.replace("500", "400"), "[DONE]"]));
      expect(monitor).toMatchObject({
        state: "error",
        sawDone: true,
        isComplete: false,
        errorStatus: 500,
        error: {
          message: "EngineCore encountered an issue.",
          type: "InternalServerError",
          param: null,
          code: 500,
        },
      });
    }
    expect(watchText("event: error\ndata: out of memory\n\n").error?.message).toBe("out of memory");
    expect(watch(bytesOf(['{"error":null,"choices":[]}'])).state).toBe("open");
  });

  it("takes a last event without its blank line, or without any line break", () => {
    for (const end of ["", "\n", "\r", "\r\n"]) {
      expect(watchText(`data: ${content}\n\ndata: ${stop}${end}`).isComplete).toBe(true);
      expect(watchText(`data: [DONE]${end}`).sawDone).toBe(true);
    }
  });

  it("calls an event cut short truncated, not malformed", () => {
    const monitor = watchText(`data: ${content}\n\ndata: ${stop.slice(0, -4)}`);
    expect(monitor).toMatchObject({ isComplete: false, malformed: false });
  });

  it("reads past a BOM, comments, other fields and data over several lines", () => {
    const monitor = watchText(
      `\ufeff: ping\n\nid: 1\nretry: 5\nevent: message\ndata: ${content}\n\ndata: {"choices":\ndata: [{"finish_reason":"stop"}]}\n\ndata:[DONE]\n\n`,
    );
    expect(monitor).toMatchObject({ isComplete: true, sawDone: true, malformed: false });
  });

  it("marks what is no JSON as malformed, but reads Python's -Infinity", () => {
    expect(watch(bytesOf(["{broken"])).malformed).toBe(true);
    expect(watch(bytesOf(["[1]"])).malformed).toBe(true);
    expect(watchText('{"id":"chatcmpl-1"}').malformed).toBe(true);
    const infinite = '{"choices":[{"logprobs":[-Infinity,NaN],"finish_reason":"stop"}]}';
    expect(watch(bytesOf([infinite]))).toMatchObject({ malformed: false, isComplete: true });
  });

  it("survives bytes that are not UTF-8 in a text", () => {
    const [before = "", after = ""] = content.split("漢");
    const bytes = Buffer.concat([
      Buffer.from(`data: ${before}`),
      Buffer.from([0xff, 0xfe]),
      Buffer.from(`${after}\n\n`),
      bytesOf([stop, "[DONE]"]),
    ]);
    expect(watch(bytes)).toMatchObject({ isComplete: true, sawDone: true, malformed: false });
  });

  it.each<[string, readonly string[], object]>([
    ["[DONE]", [content, stop, "[DONE]", content], { endsAt: 3, isComplete: true }],
    ["an error", [content, '{"error":{"message":"x"}}', "[DONE]"], { endsAt: 2, sawDone: true }],
    ["what is no JSON", [content, "{nope", stop], { endsAt: 2, malformed: true, isComplete: false }],
    [
      "a choice that the engine gave up",
      [content, stop.replace("stop", "abort")],
      { endsAt: 2, brokeOff: true, isComplete: false },
    ],
    ["a choice that failed", [content, stop.replace("stop", "error")], { endsAt: 2, brokeOff: true }],
    [
      "text of a choice that is finished",
      [content, stop, content, "[DONE]"],
      { endsAt: 3, malformed: true, isComplete: true },
    ],
    ["another finish of it", [stop, stop.replace("stop", "length")], { endsAt: 2, malformed: true }],
  ])("ends with %s", (_name, events, expected) => {
    expect(watch(bytesOf(events))).toMatchObject(expected);
  });

  it("goes on while nothing ended it: one finish said twice, another choice, the usage", () => {
    const other = content.replace('"index":0', '"index":1');
    expect(watch(bytesOf([content, stop, stop, other, role, usage]), { expectedChoices: 2 })).toMatchObject({
      endsAt: undefined,
      malformed: false,
      finishedChoices: 1,
    });
  });

  it("counts only the choices that were asked for", () => {
    const odd = [7, -1, 1.5, "0"].map((index) =>
      stop.replace('"index":0', `"index":${JSON.stringify(index)}`),
    );
    expect(watch(bytesOf([content, ...odd.slice(0, 3)]), { expectedChoices: 2 }).isComplete).toBe(false);
    expect(watch(bytesOf([content, odd[3]!]), { expectedChoices: 1 }).isComplete).toBe(true);
  });

  it("keeps the last usage of many, and ignores null", () => {
    const frame = (tokens: number | null): string =>
      JSON.stringify({
        choices: [{ delta: { content: "a" } }],
        usage: tokens === null ? null : { total_tokens: tokens },
      });
    expect(watch(bytesOf([frame(1), frame(2), frame(null)])).usage).toEqual({ total_tokens: 2 });
    expect(watch(bytesOf([content])).usage).toBeUndefined();
  });

  it("ignores what comes after [DONE]", () => {
    expect(watch(bytesOf([content, stop, "[DONE]", '{"error":{"message":"late"}}']))).toMatchObject({
      state: "done",
      isComplete: true,
    });
  });

  it.each([1, 7, 64, 4096])(
    "stops looking into an event that is too large, but notices [DONE], in chunks of %i",
    (size) => {
      const large = JSON.stringify({ choices: [{ delta: { content: "x".repeat(20_000) } }] });
      const options = { size, maxEventLength: 1000 };
      expect(watch(bytesOf([role, large, stop, "[DONE]"]), options)).toMatchObject({
        opaque: true,
        sawContent: true,
        sawDone: true,
        isComplete: true,
        malformed: false,
      });
      expect(watch(bytesOf([role, large, stop]), options)).toMatchObject({
        opaque: true,
        sawDone: false,
        isComplete: false,
      });
    },
  );

  it("can be finished twice", () => {
    const monitor = watch(bytesOf([content]));
    monitor.finish();
    expect(monitor.state).toBe("open");
  });
});
