import type { Random } from "../internal/random.ts";
import { drawLength, type LengthDistribution } from "./length-distribution.ts";

/** One message of a chat. */
export interface ChatTurnMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** What a user says, and how long the answer may be. */
export interface Turn {
  readonly content: string;
  /** Tokens, 1 or more. */
  readonly outputTokens: number;
}

/** One conversation: its turns are sent one after the other, each with all that was said before. */
export interface Conversation {
  /** What comes before the first turn: a shared prefix, or messages of a trace. */
  readonly opening: readonly ChatTurnMessage[];
  readonly turns: readonly Turn[];
  /** Milliseconds from the start of the run at which it should begin; undefined: when its turn comes. */
  readonly atMs: number | undefined;
}

/** What conversations are made of. */
export interface ConversationOptions {
  readonly promptTokens: LengthDistribution;
  readonly outputTokens: LengthDistribution;
  /** Turns of a conversation, 1 or more. */
  readonly turns: number;
  /** How many different system prompts the conversations share; 0: none has one. */
  readonly sharedPrefixes: number;
  readonly sharedPrefixTokens: number;
}

const words = (
  "time year people way day man thing woman life child world school state family student group country problem hand " +
  "part place case week company system program question work government number night point home water room mother " +
  "area money story fact month lot right study book eye job word business issue side kind head house service friend " +
  "father power hour game line end member law car city name team minute idea body back parent face others level"
).split(" ");

/**
 * About so many tokens of text. Common English words have a token each in most vocabularies; what an engine really
 * counted stands in the result of the run.
 */
export function textOfTokens(tokens: number, random: Random): string {
  return Array.from({ length: tokens }, () => words[Math.floor(random.next() * words.length)]!).join(" ");
}

/** Makes conversations, the same ones for the same randomness. */
export class ConversationSource {
  readonly #options: ConversationOptions;
  readonly #random: Random;
  readonly #prefixes: readonly string[];

  constructor(options: ConversationOptions, random: Random) {
    this.#options = options;
    this.#random = random;
    this.#prefixes = Array.from({ length: options.sharedPrefixes }, () =>
      textOfTokens(options.sharedPrefixTokens, random),
    );
  }

  /** @param atMs see {@link Conversation.atMs} */
  next(atMs?: number): Conversation {
    const { promptTokens, outputTokens, turns } = this.#options;
    const random = this.#random;
    const prefix = this.#prefixes[Math.floor(random.next() * this.#prefixes.length)];
    return {
      opening: prefix === undefined ? [] : [{ role: "system", content: prefix }],
      turns: Array.from({ length: turns }, () => ({
        content: textOfTokens(drawLength(promptTokens, random), random),
        outputTokens: drawLength(outputTokens, random),
      })),
      atMs,
    };
  }
}
