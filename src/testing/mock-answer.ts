import { renderChatPrompt } from "./chat-template.ts";
import {
  encodeText,
  endOfSequenceToken,
  hashTokens,
  mix,
  replyToken,
  replyTokenText,
  replyWords,
  toolArgumentsEndToken,
  toolArgumentsStartToken,
} from "./mock-tokenizer.ts";

/** What a mock reply is made from. */
export interface ReplyRules {
  /** Most tokens to produce, 1 or more. */
  readonly maxTokens: number;
  /** Fewest tokens before the reply may end by itself. */
  readonly minTokens: number;
  /** True: never ends by itself (vLLM's `ignore_eos`). */
  readonly ignoreEos: boolean;
  readonly stop: readonly string[];
  readonly stopTokenIds: readonly number[];
  readonly includeStop: boolean;
  /** True for completions, whose first word has a space before it. */
  readonly spaceFirst: boolean;
  /** True: the reply is the arguments of a tool call. */
  readonly toolCall: boolean;
  /** True: the very first token ends the reply. */
  readonly endAtOnce: boolean;
}

/** How a reply ended, in vLLM's words. */
export type FinishReason = "stop" | "length" | "tool_calls" | "abort";

/** One reply, complete before the first token goes out; sending it is only a matter of time. */
export interface Reply {
  readonly tokens: readonly number[];
  /** Text of each token as it is delivered; empty for the end token and for what a stop string cut away. */
  readonly texts: readonly string[];
  readonly finishReason: FinishReason;
  /** Stop string or token that ended it, else null. */
  readonly stopReason: string | number | null;
}

const shortestReply = 8;
const longestReply = 24;

/** The reply of the mock to a prompt: a function of the prompt's tokens, the choice and the rules alone. */
export function composeReply(promptTokens: readonly number[], choice: number, rules: ReplyRules): Reply {
  const hash = hashTokens(promptTokens, choice);
  const natural = Math.max(shortestReply + (mix(hash) % (longestReply - shortestReply + 1)), rules.minTokens);
  const tokens: number[] = [];
  let ended = rules.endAtOnce;
  if (rules.toolCall && !ended) tokens.push(toolArgumentsStartToken);
  while (!ended && tokens.length < rules.maxTokens) {
    const position = tokens.length;
    if (!rules.ignoreEos && position >= natural) {
      ended = true;
      break;
    }
    const word = mix(hash ^ Math.imul(position + 1, 0x9e3779b1)) % replyWords.length;
    const first = position === (rules.toolCall ? 1 : 0);
    tokens.push(replyToken(word, !first || rules.spaceFirst));
  }
  if (ended) {
    if (rules.toolCall && tokens.length < rules.maxTokens) tokens.push(toolArgumentsEndToken);
    if (tokens.length < rules.maxTokens) tokens.push(endOfSequenceToken);
    else ended = false;
  }
  const reply: Reply = {
    tokens,
    texts: tokens.map(replyTokenText),
    finishReason: ended ? "stop" : "length",
    stopReason: null,
  };
  return applyStopTokens(applyStopStrings(reply, rules), rules);
}

function applyStopStrings(reply: Reply, rules: ReplyRules): Reply {
  if (rules.stop.length === 0) return reply;
  const text = reply.texts.join("");
  let found: { readonly at: number; readonly stop: string } | undefined;
  for (const stop of rules.stop) {
    const at = stop === "" ? -1 : text.indexOf(stop);
    if (at >= 0 && (found === undefined || at + stop.length < found.at + found.stop.length))
      found = { at, stop };
  }
  if (found === undefined) return reply;
  const seen = found.at + found.stop.length;
  const keep = rules.includeStop ? seen : found.at;
  const texts: string[] = [];
  let position = 0;
  for (const piece of reply.texts) {
    if (position >= seen) break;
    texts.push(piece.slice(0, Math.max(0, keep - position)));
    position += piece.length;
  }
  return {
    tokens: reply.tokens.slice(0, texts.length),
    texts,
    finishReason: "stop",
    stopReason: found.stop,
  };
}

function applyStopTokens(reply: Reply, rules: ReplyRules): Reply {
  if (rules.stopTokenIds.length === 0) return reply;
  const at = reply.tokens.findIndex(
    (token, index) => index >= rules.minTokens && rules.stopTokenIds.includes(token),
  );
  if (at < 0) return reply;
  return {
    tokens: reply.tokens.slice(0, at + 1),
    texts: reply.texts.slice(0, at + 1),
    finishReason: "stop",
    stopReason: reply.tokens[at] ?? null,
  };
}

/** The part of a request that decides a mock's answer; a whole request body will do. */
export type MockAnswerRequest = Readonly<Record<string, unknown>>;

/**
 * What every mock engine says to a request: tells right answers from wrong ones without asking an engine.
 *
 * A chat request has `messages` (and `tools`, `chat_template_kwargs` and the like, which all count); a
 * completions request has `prompt`, a string or token ids. The answer of a request whose `tool_choice` names a
 * function is the arguments of that call.
 *
 * @param maxTokens the most words to say; left out, the answer has its natural length of 8 to 24 words
 * @param choice index among `n` choices. @default 0
 */
export function mockAnswer(
  request: MockAnswerRequest,
  maxTokens = Number.POSITIVE_INFINITY,
  choice = 0,
): string {
  const isChat = request["messages"] !== undefined;
  const promptTokens = isChat
    ? encodeText(renderChatPrompt(request))
    : completionPromptTokens(request["prompt"]);
  const toolChoice = request["tool_choice"];
  const reply = composeReply(promptTokens, choice, {
    maxTokens,
    minTokens: 0,
    ignoreEos: false,
    stop: [],
    stopTokenIds: [],
    includeStop: false,
    spaceFirst: !isChat,
    toolCall:
      isChat && (toolChoice === "required" || (typeof toolChoice === "object" && toolChoice !== null)),
    endAtOnce: false,
  });
  return reply.texts.join("");
}

/** Tokens of one completions prompt. */
export function completionPromptTokens(prompt: unknown): number[] {
  if (typeof prompt === "string") return encodeText(prompt);
  return Array.isArray(prompt) ? prompt.map(Number) : [];
}
