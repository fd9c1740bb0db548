import { createParser, type EventSourceMessage, type EventSourceParser } from "eventsource-parser";
import type { EngineErrorBody } from "../errors/engine-response-error.ts";
import { DoneGuard } from "./done-guard.ts";
import { engineErrorFromValue, errorEventStatus } from "./engine-error-body.ts";
import { asJsonObject, parseEngineJson } from "./engine-json.ts";
import { EventGlance } from "./event-glance.ts";

/** How far a stream has come. */
export type StreamState = "open" | "done" | "error";

/** Options of {@link EventStreamMonitor}. */
export interface EventStreamMonitorOptions {
  /** How many choices must finish: `n` times the number of prompts. At least 1. */
  readonly expectedChoices: number;
  /**
   * The largest event that is looked into, in UTF-16 units. From a larger one on the stream is
   * {@link EventStreamMonitor.opaque}. @default 8388608 (8 Mi)
   */
  readonly maxEventLength?: number | undefined;
}

/** Only the very start of a stream may have a byte order mark. */
const firstDecoder = new TextDecoder();
const laterDecoder = new TextDecoder("utf-8", { ignoreBOM: true });
const defaultMaxEventLength = 8 * 1024 * 1024;
const nothingFinished: ReadonlyMap<number, string> = new Map();
/** One for all: what it says is read at once. */
const glance = new EventGlance();
const lineFeed = 0x0a;
const finishReasonPattern = /"finish_reason"\s*:\s*"/;
const usagePattern = /"usage"\s*:\s*\{/;
const errorPattern = /^\s*\{\s*"error"\s*:/;
/** vLLM's finish reasons of answers that it gave up: paused, put to sleep, shut down, or failed. No OpenAI API has them. */
const brokenFinishReasons: ReadonlySet<unknown> = new Set(["abort", "error"]);

/** True when a `finish_reason` says that the engine gave up, so that the choice is cut off rather than finished. */
export function isBrokenFinish(finishReason: unknown): boolean {
  return brokenFinishReasons.has(finishReason);
}

/**
 * Watches the chat or completion events of an engine while their bytes are relayed, to know whether the answer is
 * complete: vLLM drops errors before the first token, and can end a stream early with a clean close.
 *
 * Synchronous and cheap for each token: once content was seen, only events that finish a choice or report an
 * error are parsed.
 */
export class EventStreamMonitor {
  readonly #expectedChoices: number;
  /** Keeps the start of a character that a chunk cut in two. Rare, and costly: made when it is needed. */
  #cutDecoder: InstanceType<typeof TextDecoder> | undefined;
  #cut = false;
  #begun = false;
  readonly #maxEventLength: number;
  /** Made when a glance is not enough: most streams never need one, and ten thousand idle ones notice. */
  #parser: EventSourceParser | undefined;
  #finishReasons: Map<number, string> | undefined;
  #sawContent = false;
  #sawDone = false;
  #eventCount = 0;
  #sawForeignLine = false;
  #malformed = false;
  #brokeOff = false;
  #endsAt: number | undefined;
  #finishing = false;
  #error: EngineErrorBody | undefined;
  #errorStatus: number | undefined;
  #usageText: string | undefined;
  #usage: unknown;
  #opaqueTail: DoneGuard | undefined;
  /** True between two events of an answer that goes on. */
  #betweenEvents = true;

  constructor(options: EventStreamMonitorOptions) {
    this.#expectedChoices = options.expectedChoices;
    this.#maxEventLength = options.maxEventLength ?? defaultMaxEventLength;
  }

  /**
   * Takes the events at the start of the next bytes of the stream whose meaning is plain, and which have nothing in them
   * that is to be changed for a client; and `[DONE]`, if nothing else follows.
   *
   * @param text each byte as one character
   * @returns how many characters are for the client, possibly none. The bytes after them need {@link push}, unless it
   *   has taken `[DONE]`
   */
  takeAtAGlance(text: string): number {
    if (!this.#betweenEvents) return 0;
    glance.take(text, this.#sawContent, this.#finishReasons !== undefined);
    const { length, isDone, finishReason } = glance;
    this.#begun ||= length > 0 || isDone;
    this.#eventCount += glance.events;
    this.#sawContent = glance.hasContent;
    if (finishReason !== undefined) this.#finishReasons = new Map([[glance.finishedIndex, finishReason]]);
    if (isDone) this.#takeDone();
    return length;
  }

  /** The next bytes of the stream, cut anywhere. */
  push(chunk: Uint8Array): void {
    if (this.#opaqueTail === undefined) {
      this.#feed(this.#decode(chunk));
      this.#betweenEvents = this.#endsAt === undefined && !this.opaque && endsWithBlankLine(chunk);
      return;
    }
    // Once the line was seen nothing after it matters, and must not pile up in the guard.
    if (this.#sawDone) return;
    this.#opaqueTail.take(chunk);
    this.#sawDone = this.#opaqueTail.sawDone;
  }

  /** The stream ended. An event that lacks its final blank line still counts. */
  finish(): void {
    if (this.#opaqueTail !== undefined || this.#finishing) return;
    // An event cut short is a truncated stream, not a malformed one.
    this.#finishing = true;
    this.#feed(`${this.#cut ? this.#cutDecoder!.decode() : ""}\n\n`);
    if (this.#eventCount === 0 && this.#sawForeignLine) this.#malformed = true;
  }

  get state(): StreamState {
    if (this.#error !== undefined) return "error";
    return this.#sawDone ? "done" : "open";
  }

  /**
   * True once an event carried something of the answer: text, reasoning, a tool call, token ids or a finish
   * reason; the chunk that only names the role and chunks without choices do not count.
   */
  get sawContent(): boolean {
    return this.#sawContent || this.opaque;
  }

  /** Events so far. Comments are none, so an engine that only sends keep-alives stands still here. */
  get eventCount(): number {
    return this.#eventCount;
  }

  /** True once `[DONE]` came. */
  get sawDone(): boolean {
    return this.#sawDone;
  }

  /** Number of expected choices that have a finish reason. */
  get finishedChoices(): number {
    let finished = 0;
    for (const index of this.finishReasons.keys())
      if (Number.isInteger(index) && index >= 0 && index < this.#expectedChoices) finished += 1;
    return finished;
  }

  /** Finish reason by choice index; the last one counts. */
  get finishReasons(): ReadonlyMap<number, string> {
    return this.#finishReasons ?? nothingFinished;
  }

  /** True when every expected choice has a finish reason; for an {@link opaque} stream, when `[DONE]` came. */
  get isComplete(): boolean {
    return this.opaque ? this.#sawDone : this.finishedChoices >= this.#expectedChoices;
  }

  /** The error the engine reported as an event, the first if there were several. */
  get error(): EngineErrorBody | undefined {
    return this.#error;
  }

  /** HTTP status that {@link error} stands for: its numeric code, or 500. */
  get errorStatus(): number | undefined {
    return this.#errorStatus;
  }

  /** True when a choice ended with a finish reason that says the engine gave it up. */
  get brokeOff(): boolean {
    return this.#brokeOff;
  }

  /**
   * Number, from 1, of the event with which the answer is over, whichever way: `[DONE]`, an error, what can't be read,
   * or a choice that was given up. It and what follows is not for the client. Undefined while the answer goes on.
   */
  get endsAt(): number | undefined {
    return this.#endsAt;
  }

  /**
   * True when an event that was looked into is no JSON or contradicts an earlier one (more of a choice that was
   * finished), or the stream has no events at all but other text.
   */
  get malformed(): boolean {
    return this.#malformed;
  }

  /** True once an event was too large to look into: from there on only `[DONE]` is noticed. */
  get opaque(): boolean {
    return this.#opaqueTail !== undefined;
  }

  /** The last `usage` object seen, parsed at the first call; undefined when there was none. */
  get usage(): unknown {
    if (this.#usageText !== undefined) {
      const usage = asJsonObject(tryParse(this.#usageText))?.["usage"];
      if (asJsonObject(usage) !== undefined) this.#usage = usage;
      this.#usageText = undefined;
    }
    return this.#usage;
  }

  #feed(text: string): void {
    this.#parser ??= this.#createParser();
    this.#parser.feed(text);
  }

  #createParser(): EventSourceParser {
    const parser = createParser({
      onEvent: (event) => this.#onEvent(event),
      onError: (error) => {
        if (error.type === "max-buffer-size-exceeded") this.#opaqueTail = new DoneGuard({ withinLine: true });
        else if (error.type === "unknown-field") this.#sawForeignLine = true;
      },
      maxBufferSize: this.#maxEventLength,
    });
    // It takes what it is fed first for the start of the stream, and looks for a byte order mark.
    parser.feed("");
    return parser;
  }

  #decode(chunk: Uint8Array): string {
    const whole = !this.#cut && (chunk.at(-1) ?? 0) < 0x80;
    const decoder = this.#begun ? laterDecoder : firstDecoder;
    this.#begun ||= chunk.length > 0;
    if (whole) return decoder.decode(chunk);
    this.#cutDecoder ??= new TextDecoder("utf-8", { ignoreBOM: decoder.ignoreBOM });
    this.#cut = (chunk.at(-1) ?? 0x80) >= 0x80;
    return this.#cutDecoder.decode(chunk, { stream: true });
  }

  #onEvent(event: EventSourceMessage): void {
    if (event.data === "[DONE]" && !this.#sawDone) {
      this.#takeDone();
      return;
    }
    this.#eventCount += 1;
    if (this.#sawDone || this.#endsAt !== undefined) return;
    this.#look(event);
    if (this.#error !== undefined || this.#malformed || this.#brokeOff) this.#endsAt = this.#eventCount;
  }

  #takeDone(): void {
    this.#eventCount += 1;
    this.#sawDone = true;
    this.#betweenEvents = false;
    this.#endsAt ??= this.#eventCount;
  }

  #look({ event, data }: EventSourceMessage): void {
    const hasUsage = usagePattern.test(data);
    const isError = event === "error" || errorPattern.test(data);
    const isOrdinary = this.#sawContent && this.#finishReasons === undefined && !isError;
    if (isOrdinary && looksWhole(data) && !finishReasonPattern.test(data)) {
      if (hasUsage) this.#usageText = data;
      return;
    }
    const chunk = asJsonObject(tryParse(data));
    if (chunk === undefined) {
      if (event === "error") this.#reportError(data);
      else if (this.#finishing) this.#endsAt = this.#eventCount;
      else this.#malformed = true;
      return;
    }
    if (hasUsage && asJsonObject(chunk["usage"]) !== undefined) {
      this.#usage = chunk["usage"];
      this.#usageText = undefined;
    }
    const error = chunk["error"];
    if (event === "error" || (error !== undefined && error !== null)) this.#reportError(chunk);
    this.#readChoices(chunk["choices"]);
  }

  #reportError(value: unknown): void {
    if (this.#error !== undefined) return;
    this.#errorStatus = errorEventStatus(value);
    this.#error = engineErrorFromValue(this.#errorStatus, value);
  }

  #readChoices(choices: unknown): void {
    if (!Array.isArray(choices)) return;
    for (let position = 0; position < choices.length; position += 1) {
      const choice = asJsonObject(choices[position]);
      if (choice === undefined) continue;
      const index = typeof choice["index"] === "number" ? choice["index"] : position;
      const finishReason = choice["finish_reason"];
      const finishedBefore = this.#finishReasons?.get(index);
      if (finishedBefore !== undefined && hasContent(choice)) this.#malformed = true;
      if (typeof finishReason === "string" && finishReason !== "") {
        if (isBrokenFinish(finishReason)) this.#brokeOff = true;
        else if (finishedBefore !== undefined && finishedBefore !== finishReason) this.#malformed = true;
        if (this.#brokeOff || this.#malformed) return;
        (this.#finishReasons ??= new Map()).set(index, finishReason);
        this.#sawContent = true;
      }
      this.#sawContent ||= hasContent(choice);
    }
  }
}

/** Only for the line breaks that engines use: with the others there is no short way. */
function endsWithBlankLine(chunk: Uint8Array): boolean {
  return chunk.at(-1) === lineFeed && chunk.at(-2) === lineFeed;
}

/** True when it begins and ends as a JSON object does: enough to notice an event that was cut or garbled. */
function looksWhole(data: string): boolean {
  return data.charCodeAt(0) === 0x7b && data.charCodeAt(data.length - 1) === 0x7d;
}

function hasContent(choice: Readonly<Record<string, unknown>>): boolean {
  if (isFilled(choice["text"]) || isFilled(choice["token_ids"])) return true;
  const delta = asJsonObject(choice["delta"]);
  if (delta === undefined) return false;
  // Any field counts, because engines add their own (`reasoning`, `reasoning_content`, `audio`).
  for (const key of Object.keys(delta)) if (key !== "role" && isFilled(delta[key])) return true;
  return false;
}

function isFilled(value: unknown): boolean {
  if (typeof value === "string" || Array.isArray(value)) return value.length > 0;
  return asJsonObject(value) !== undefined;
}

function tryParse(text: string): unknown {
  try {
    return parseEngineJson(text);
  } catch {
    return undefined;
  }
}
