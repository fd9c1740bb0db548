import { doneText } from "./event-stream-text.ts";
import { internalFieldAt } from "./internal-fields.ts";

const eventStart = 'data: {"';
const lineFeed = 0x0a;
const closingBrace = 0x7d;

/**
 * Tells by a few searches what the events at the start of a piece of a stream say, as far as they plainly say nothing
 * but one more token, the role that an answer begins with, the last token with its finish reason, or the end. Nearly all
 * that an engine sends is like that; nothing is parsed.
 *
 * Where it stops, at an error, usage, a field between engines or anything else, a closer look is needed.
 */
export class EventGlance {
  /** Characters that were understood: whole events, from the start of the text. */
  length = 0;
  /** How many events they are. */
  events = 0;
  /** True once the answer has begun: text came, or a finish reason. */
  hasContent = false;
  /** The choice that the last event finishes, with {@link finishReason}. */
  finishedIndex = 0;
  /** Undefined when nothing was finished. */
  finishReason: string | undefined;
  /** True when nothing follows but `[DONE]`, which is counted neither in {@link events} nor in {@link length}. */
  isDone = false;

  /**
   * @param text must begin between two events; each byte as one character will do
   * @param hasContent whether the answer has begun. Until it has, events are looked at more strictly: what decides that
   *   an answer begins must be all there
   * @param isFinished whether a choice has finished: then only the end is plain
   */
  take(text: string, hasContent: boolean, isFinished = false): void {
    this.length = this.events = 0;
    this.hasContent = hasContent;
    this.finishReason = undefined;
    if (!isFinished) this.#takeEvents(text);
    this.isDone = this.length + doneText.length === text.length && text.endsWith(doneText);
  }

  #takeEvents(text: string): void {
    const remark = remarkAt(text, 0);
    while (this.finishReason === undefined) {
      const start = this.length;
      const end = text.indexOf("\n", start);
      if (text.charCodeAt(end - 1) !== closingBrace || text.charCodeAt(end + 1) !== lineFeed) return;
      if (!text.startsWith(eventStart, start)) return;
      if (end > remark ? !this.#finishes(text, start, end, remark) : !this.#goesOn(text, start)) return;
      this.events += 1;
      this.length = end + 2;
    }
  }

  #goesOn(text: string, start: number): boolean {
    if (this.hasContent) return true;
    if (matches(openingPattern, text, start)) return true;
    this.hasContent = matches(tokenPattern, text, start);
    return this.hasContent;
  }

  /** @param remark where the only thing that is to be noticed should be: the finish reason */
  #finishes(text: string, start: number, end: number, remark: number): boolean {
    if (remarkAt(text, remark + 1) < end) return false;
    finishPattern.lastIndex = start;
    const match = finishPattern.exec(text);
    if (match === null) return false;
    this.finishedIndex = Number(match.groups!["index"]);
    this.finishReason = match.groups!["reason"];
    this.hasContent = true;
    return true;
  }
}

/**
 * Where the first thing that needs a closer look is, or may be; the length of the text when there is none. What is
 * looked for begins with a character that is rare in events: a search for a quote takes three times as long.
 */
function remarkAt(text: string, from: number): number {
  let at = earlier(text.length, text.indexOf("\r", from));
  at = earlier(at, internalFieldAt(text, from));
  at = earlier(at, text.indexOf('{"error"', from));
  // Of `finish_reason` and `stop_reason`.
  at = earlier(at, notNullAt(text, '_reason"', from));
  const usage = text.indexOf('usage"', from);
  if (usage === -1) return at;
  // Next to a null, the same key with an escape in it may say something.
  return earlier(at, text.includes("\\") ? usage : notNullAt(text, 'usage"', usage));
}

function earlier(at: number, other: number): number {
  return other !== -1 && other < at ? other : at;
}

/** Where a key is whose value is not null, or -1. */
function notNullAt(text: string, key: string, from: number): number {
  for (let at = text.indexOf(key, from); at !== -1; at = text.indexOf(key, at + key.length)) {
    if (!text.startsWith(":null", at + key.length)) return at;
  }
  return -1;
}

function matches(pattern: RegExp, text: string, start: number): boolean {
  pattern.lastIndex = start;
  return pattern.test(text);
}

/** One character of a JSON string in which nothing is escaped. */
const character = String.raw`[^"\\\x00-\x1f]`;
const whole = String.raw`(?:0|[1-9]\d{0,15})`;
const tokenPattern = eventPattern(`${character}+`, "null");
const openingPattern = eventPattern("", "null");
const finishPattern = eventPattern(`${character}*`, '"(?<reason>stop|length|tool_calls)"');

/**
 * An event with one choice, as vLLM writes it, whole: a text of another shape may say something else. Names that would
 * change what was read before them, or that report something, do not match where others may stand.
 */
function eventPattern(content: string, finishReason: string): RegExp {
  const head = `(?:"(?!choices"|error"|usage")[a-z_]+":(?:"${character}*"|${whole}|null),)*`;
  const text = `"(?<name>content|reasoning|reasoning_content)":"${content}"`;
  const delta = String.raw`"delta":\{(?:"role":"assistant",)?${text}${nulls(String.raw`role|\k<name>`)}\}`;
  const body = `(?:${delta}|"text":"${content}")`;
  const others = nulls("index|delta|text|finish_reason");
  const choice = `"index":(?<index>${whole}),${body}${others},"finish_reason":${finishReason}${others}`;
  return new RegExp(String.raw`data: \{${head}"choices":\[\{${choice}\}\]${nulls("choices")}\}\n\n`, "y");
}

/** Members that are null, but those of a name. */
function nulls(except: string): string {
  return `(?:,"(?!(?:${except})")[a-z_]+":null)*`;
}
