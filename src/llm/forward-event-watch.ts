import { createParser, type EventSourceParser } from "eventsource-parser";
import type { EngineErrorOrigin } from "../errors/engine-error.ts";
import { EngineResponseError } from "../errors/engine-response-error.ts";
import { engineErrorFromValue, errorEventStatus } from "../protocol/engine-error-body.ts";
import { parseEngineJson } from "../protocol/engine-json.ts";

const errorPattern = /^\s*\{\s*"error"\s*:\s*[{"]/;
/** A line break ends an event where a second one follows; kept with the event it ends. */
const eventEnd = /(?<=\n\n|\n\r\n|\r\r)/;

/**
 * Watches the events of a forwarded stream for two things: an error the engine reports as an event, and the mark
 * that says the stream is whole.
 */
export class ForwardEventWatch {
  readonly #origin: EngineErrorOrigin;
  readonly #ends: ReadonlySet<string> | undefined;
  readonly #parser: EventSourceParser;
  #sawEnd = false;
  #error: EngineResponseError | undefined;
  #eventCount = 0;

  /** @param ends names of events, or `[DONE]`, that end a whole stream; undefined when nothing does */
  constructor(origin: EngineErrorOrigin, ends: readonly string[] | undefined) {
    this.#origin = origin;
    this.#ends = ends === undefined ? undefined : new Set(ends);
    this.#parser = createParser({ onEvent: ({ event, data }) => this.#onEvent(event, data) });
  }

  /** True when the stream may end here. */
  get isWhole(): boolean {
    return this.#ends === undefined || this.#sawEnd;
  }

  /** The error the engine reported, if it did. */
  get error(): EngineResponseError | undefined {
    return this.#error;
  }

  /** Events so far; comments are none. */
  get eventCount(): number {
    return this.#eventCount;
  }

  /**
   * Looks at complete events.
   *
   * @returns those before an error event: all of them when there is none
   */
  take(events: Uint8Array): Uint8Array {
    const text = Buffer.from(events.buffer, events.byteOffset, events.byteLength).toString("latin1");
    let end = 0;
    for (const event of text.split(eventEnd)) {
      this.#parser.feed(Buffer.from(event, "latin1").toString());
      if (this.#error !== undefined) return events.subarray(0, end);
      end += event.length;
    }
    return events;
  }

  #onEvent(name: string | undefined, data: string): void {
    this.#eventCount += 1;
    if (data === "[DONE]") this.#sawEnd ||= this.#ends?.has(data) === true;
    else if (name !== undefined && this.#ends?.has(name) === true) this.#sawEnd = true;
    if (name !== "error" && !errorPattern.test(data)) return;
    const value = parsed(data);
    const status = errorEventStatus(value);
    this.#error = new EngineResponseError(this.#origin, status, engineErrorFromValue(status, value));
  }
}

function parsed(data: string): unknown {
  try {
    return parseEngineJson(data);
  } catch {
    return data;
  }
}
