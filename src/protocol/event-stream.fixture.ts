import * as fc from "fast-check";

/** An event as an engine sends it for a token. */
export const ordinaryEvent =
  'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":" a"},"logprobs":null,"finish_reason":null}]}\n\n';

const choice = '"index":0,"delta":{"content":" a"}';
const roleDelta = '"delta":{"role":"assistant","content":""}';

/** The event that an answer begins with: it only names the role. */
export const openingEvent = ordinaryEvent.replace('"delta":{"content":" a"}', roleDelta);

/** A token that is the last of its choice. */
export const finishingEvent = ordinaryEvent.replace("null}", '"length"}');

const wholeEvents = [
  ordinaryEvent,
  ordinaryEvent,
  openingEvent,
  openingEvent,
  finishingEvent,
  ordinaryEvent.replace(choice, '"index":1,"delta":{"content":"","content":"b"}'),
  ordinaryEvent.replace(choice, '"index":0,"text":"b"'),
  ordinaryEvent.replace("null}", '"stop","stop_reason":null}').replace("0", "2"),
  ordinaryEvent.replace("null}", '"abort"}'),
  ordinaryEvent.replace("null}", '"stop","delta":null}'),
  ordinaryEvent.replace(choice, '"delta":{"finish_reason":"stop","content":""}'),
  ordinaryEvent.replace("]}", '],"choices":null}'),
  ordinaryEvent.replace("]}", '],"error":"no"}'),
  openingEvent.replace('""', '"","reasoning":null'),
  openingEvent.replace('""', '"","reasoning":"hm"'),
  openingEvent.replace('"id"', '"usage":1,"error":{},"id"'),
  ordinaryEvent.replace("null}", '"stop"}'),
  ordinaryEvent.replace("null}", ' "length"}'),
  ordinaryEvent.replace("]}", '],"usage":null}'),
  ordinaryEvent.replace("]}", '],"usage":{"prompt_tokens":1}}'),
  ordinaryEvent.replace("]}", '],"kv_transfer_params":{"a":1}}'),
  'data: {"error":{"message":"no","code":500}}\n\n',
  "data: [DONE]\n\n",
  ": ping\n\n",
];

const fieldNames = [
  "data: ",
  "data:",
  'data: {"',
  "event: error\n",
  "id: 1\n",
  "retry: 1\n",
  ": c\n",
  "foreign\n",
];
const punctuation = [
  "\n",
  "\n\n",
  "\r",
  "\r\n",
  "{",
  "}",
  "}\n\n",
  "[",
  "]",
  '"',
  ":",
  ",",
  " ",
  "\\",
  "\u00a0",
  "\ufeff",
  "é",
];
const members = [
  '"finish_reason"',
  '"finish_reason":null',
  ':"stop"',
  ': "abort"',
  '"stop_reason":null',
  '"usage"',
  '"usage":null',
  String.raw`"us\u0061ge":{`,
  '"usage":{}',
  '{"error":',
  '"index":0',
  '"delta":{',
  roleDelta,
  '"content":""',
  '"kv_transfer_params":',
  '"choices":[{',
  '"text":"a"',
  "null",
];
const snippets = [...fieldNames, ...punctuation, ...members];

/** Pieces of a stream that may be anything: whole events, parts of events in any order, cut anywhere. */
export const hostileStream: fc.Arbitrary<readonly string[]> = fc.array(
  fc.oneof(
    fc
      .array(fc.constantFrom(...wholeEvents), { minLength: 1, maxLength: 3 })
      .map((events) => events.join("")),
    fc
      .array(fc.constantFrom(...snippets, ordinaryEvent), { minLength: 1, maxLength: 8 })
      .map((parts) => parts.join("")),
    fc
      .tuple(fc.constantFrom(...wholeEvents), fc.nat(), fc.constantFrom(...snippets))
      .map(([event, at, snippet]) => {
        const cut = at % event.length;
        return event.slice(0, cut) + snippet + event.slice(cut);
      }),
    fc.tuple(fc.constantFrom(...wholeEvents), fc.nat()).map(([event, at]) => event.slice(at % event.length)),
  ),
  { minLength: 1, maxLength: 6 },
);
