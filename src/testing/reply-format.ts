/** What every frame and body of one answer says about itself. */
export interface ReplyIdentity {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
  readonly systemFingerprint: string;
}

/** Token counts of an answer. */
export interface ReplyUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Prompt tokens that were not computed; undefined: not reported. */
  readonly cachedTokens: number | undefined;
}

/** How a choice ended. */
export interface ReplyEnd {
  readonly finishReason: string;
  readonly stopReason: string | number | null;
}

/** Some tokens of one choice, together in one frame. */
export interface ReplyPiece {
  readonly choice: number;
  readonly tokens: readonly number[];
  readonly texts: readonly string[];
  /** True for the first tokens of the choice. */
  readonly first: boolean;
  /** Set when these are the last. */
  readonly end: ReplyEnd | undefined;
  /** Set when every frame carries usage. */
  readonly usage: ReplyUsage | undefined;
}

/** One complete choice of an answer that is not streamed. */
export interface ReplyChoice {
  readonly tokens: readonly number[];
  readonly texts: readonly string[];
  readonly end: ReplyEnd;
}

/** How the answers of one route are written. */
export interface ReplyFormat {
  /** Frame before the first tokens of a choice, or "" where the route has none. */
  opening(choice: number, usage: ReplyUsage | undefined): string;
  frame(piece: ReplyPiece): string;
  usageFrame(usage: ReplyUsage): string;
  /** The whole answer. `kvTransferParams`: JSON text; undefined leaves the field out. */
  body(choices: readonly ReplyChoice[], usage: ReplyUsage, kvTransferParams: string | undefined): string;
}

/** Last line of a stream. */
export const doneFrame = "data: [DONE]\n\n";

/** `usage` of a stream frame: only what is set. */
export function streamUsageJson(usage: ReplyUsage): string {
  const details = usage.cachedTokens
    ? `,"prompt_tokens_details":{"cached_tokens":${usage.cachedTokens}}`
    : "";
  return `${usageCounts(usage)}${details}}`;
}

/** `usage` of a whole answer: nulls included. */
export function bodyUsageJson(usage: ReplyUsage): string {
  const details = usage.cachedTokens ? `{"cached_tokens":${usage.cachedTokens}}` : "null";
  return `${usageCounts(usage)},"prompt_tokens_details":${details}}`;
}

function usageCounts(usage: ReplyUsage): string {
  const { promptTokens, completionTokens } = usage;
  return `{"prompt_tokens":${promptTokens},"total_tokens":${promptTokens + completionTokens},"completion_tokens":${completionTokens}`;
}

/** Text of some tokens. */
export function joinTexts(texts: readonly string[]): string {
  return texts.length === 1 ? (texts[0] ?? "") : texts.join("");
}

/** A log probability that looks like one and repeats. */
export function mockLogprob(token: number, rank: number): number {
  return -((token % 97) + 1) / 100 - rank;
}
