import { createParser, type EventSourceMessage, type EventSourceParser } from "eventsource-parser";
import type { EngineErrorBody } from "../errors/engine-response-error.ts";
import { DoneGuard } from "./done-guard.ts";
import { engineErrorFromValue, errorEventStatus } from "./engine-error-body.ts";
import { asJsonObject, parseEngineJson } from "./engine-json.ts";

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

const defaultMaxEventLength = 8 * 1024 * 1024;
const finishReasonPattern = /"finish_reason"\s*:\s*"/;
const usagePattern = /"usage"\s*:\s*\{/;
const errorPattern = /^\s*\{\s*"error"\s*:/;

/**
 * Watches the chat or completion events of an engine while their bytes are relayed, to know whether the answer is
 * complete: vLLM drops errors before the first token, and can end a stream early with a clean close.
 *
 * Synchronous and cheap for each token: once content was seen, only events that finish a choice or report an
 * error are parsed.
 */
export class EventStreamMonitor {
  readonly #expectedChoices: number;
  readonly #decoder = new TextDecoder();
  readonly #parser: EventSourceParser;
  readonly #finishReasons = new Map<number, string>();
  #sawContent = false;
  #sawDone = false;
  #eventCount = 0;
  #sawForeignLine = false;
  #malformed = false;
  #finishing = false;
  #error: EngineErrorBody | undefined;
  #errorStatus: number | undefined;
  #usageText: string | undefined;
  #usage: unknown;
  #opaqueTail: DoneGuard | undefined;

  constructor(options: EventStreamMonitorOptions) {
    this.#expectedChoices = options.expectedChoices;
    this.#parser = createParser({
      onEvent: (event) => this.#onEvent(event),
      onError: (error) => {
        if (error.type === "max-buffer-size-exceeded") this.#opaqueTail = new DoneGuard({ withinLine: true });
        else if (error.type === "unknown-field") this.#sawForeignLine = true;
      },
      maxBufferSize: options.maxEventLength ?? defaultMaxEventLength,
    });
  }

  /** The next bytes of the stream, cut anywhere. */
  push(chunk: Uint8Array): void {
    if (this.#opaqueTail === undefined) {
      this.#parser.feed(this.#decoder.decode(chunk, { stream: true }));
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
    this.#parser.feed(`${this.#decoder.decode()}\n\n`);
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

  /** Number of choices that have a finish reason. */
  get finishedChoices(): number {
    return this.#finishReasons.size;
  }

  /** Finish reason by choice index; the last one counts. */
  get finishReasons(): ReadonlyMap<number, string> {
    return this.#finishReasons;
  }

  /** True when every expected choice has a finish reason; for an {@link opaque} stream, when `[DONE]` came. */
  get isComplete(): boolean {
    return this.opaque ? this.#sawDone : this.#finishReasons.size >= this.#expectedChoices;
  }

  /** The error the engine reported as an event, the first if there were several. */
  get error(): EngineErrorBody | undefined {
    return this.#error;
  }

  /** HTTP status that {@link error} stands for: its numeric code, or 500. */
  get errorStatus(): number | undefined {
    return this.#errorStatus;
  }

  /** True when an event that was looked into is no JSON, or the stream has no events at all but other text. */
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

  #onEvent(event: EventSourceMessage): void {
    this.#eventCount += 1;
    if (this.#sawDone) return;
    const data = event.data;
    if (data === "[DONE]") {
      this.#sawDone = true;
      return;
    }
    if (usagePattern.test(data)) this.#usageText = data;
    const isError = event.event === "error" || errorPattern.test(data);
    if (this.#sawContent && !isError && looksWhole(data) && !finishReasonPattern.test(data)) return;
    const chunk = asJsonObject(tryParse(data));
    if (chunk === undefined) {
      if (event.event === "error") this.#reportError(data);
      else if (!this.#finishing) this.#malformed = true;
      return;
    }
    const error = chunk["error"];
    if (event.event === "error" || (error !== undefined && error !== null)) this.#reportError(chunk);
    this.#readChoices(chunk["choices"]);
  }

  #reportError(value: unknown): void {
    if (this.#error !== undefined) return;
    this.#errorStatus = errorEventStatus(value);
    this.#error = engineErrorFromValue(this.#errorStatus, value);
  }

  #readChoices(choices: unknown): void {
    if (!Array.isArray(choices)) return;
    for (const [position, entry] of choices.entries()) {
      const choice = asJsonObject(entry);
      if (choice === undefined) continue;
      const { index, finish_reason: finishReason } = choice;
      if (typeof finishReason === "string" && finishReason !== "") {
        this.#finishReasons.set(typeof index === "number" ? index : position, finishReason);
        this.#sawContent = true;
      }
      this.#sawContent ||= hasContent(choice);
    }
  }
}

/** True when it begins and ends as a JSON object does: enough to notice an event that was cut or garbled. */
function looksWhole(data: string): boolean {
  return data.charCodeAt(0) === 0x7b && data.charCodeAt(data.length - 1) === 0x7d;
}

function hasContent(choice: Readonly<Record<string, unknown>>): boolean {
  if (isFilled(choice["text"]) || isFilled(choice["token_ids"])) return true;
  const delta = asJsonObject(choice["delta"]);
  // Any field counts, because engines add their own (`reasoning`, `reasoning_content`, `audio`).
  return (
    delta !== undefined && Object.entries(delta).some(([key, value]) => key !== "role" && isFilled(value))
  );
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
