import { ConfigurationError, type ConfigIssue } from "../errors/configuration-error.ts";
import type { Random } from "../internal/random.ts";
import { asJsonObject } from "../protocol/engine-json.ts";
import { type ChatTurnMessage, type Conversation, textOfTokens } from "./conversation.ts";

/** Requests of a trace, in the order they begin. */
export interface Trace {
  readonly conversations: readonly Conversation[];
  /** Fields of its lines that say nothing to us. */
  readonly ignoredFields: readonly string[];
}

/** Tokens that one id of `hash_ids` stands for, in Mooncake's traces. */
const tokensPerHash = 512;
const knownFields = new Set([
  "atMs",
  "timestamp",
  "promptTokens",
  "input_length",
  "outputTokens",
  "output_length",
  "hash_ids",
  "messages",
]);
const mostReported = 10;

/**
 * Reads a trace: one JSON object a line, with `atMs` (or `timestamp`) in milliseconds, `outputTokens` (or
 * `output_length`), and the prompt as `messages`, or as `promptTokens` (or `input_length`), with `hash_ids` where
 * prompts share beginnings. The other names are those of Mooncake's published traces. Times count from the first request,
 * so that a part of a trace, or one in milliseconds since 1970, begins at once.
 *
 * @param speed the trace is played so many times as fast, > 0
 * @throws ConfigurationError naming the lines that can't be read
 */
export function parseTrace(text: string, speed: number, random: Random): Trace {
  const issues: ConfigIssue[] = [];
  const ignored = new Set<string>();
  const blocks = new Map<unknown, string>();
  const block = (id: unknown): string => {
    const known = blocks.get(id) ?? textOfTokens(tokensPerHash, random);
    blocks.set(id, known);
    return known;
  };
  const conversations: Conversation[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const refuse = (message: string): void => {
      issues.push({ path: [`line ${index + 1}`], type: "value_error", message });
    };
    const entry = readLine(line);
    if (entry === undefined) {
      refuse("Input should be a JSON object");
      continue;
    }
    for (const name of Object.keys(entry)) if (!knownFields.has(name)) ignored.add(name);
    const atMs = entry["atMs"] ?? entry["timestamp"];
    const outputTokens = entry["outputTokens"] ?? entry["output_length"];
    if (typeof atMs !== "number" || !(atMs >= 0))
      refuse("atMs (or timestamp) should be milliseconds, 0 or more");
    else if (!isCount(outputTokens))
      refuse("outputTokens (or output_length) should be a whole number above 0");
    else {
      const messages = messagesOf(entry, block, random);
      if (typeof messages === "string") refuse(messages);
      else {
        const last = messages.at(-1)!;
        const turns = [{ content: last.content, outputTokens }];
        conversations.push({ opening: messages.slice(0, -1), turns, atMs: atMs / speed });
      }
    }
  }
  if (issues.length === 0 && conversations.length === 0) {
    issues.push({ path: [], type: "missing", message: "It has no requests" });
  }
  if (issues.length > 0) throw new ConfigurationError("Trace", issues.slice(0, mostReported));
  conversations.sort((a, b) => a.atMs! - b.atMs!);
  const firstMs = conversations[0]!.atMs!;
  const fromStart = conversations.map((each) => ({ ...each, atMs: each.atMs! - firstMs }));
  return { conversations: fromStart, ignoredFields: [...ignored].sort() };
}

function readLine(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return asJsonObject(JSON.parse(line));
  } catch {
    return undefined;
  }
}

/** Messages that end with one of the user's, or what is wrong. */
function messagesOf(
  entry: Readonly<Record<string, unknown>>,
  block: (id: unknown) => string,
  random: Random,
): readonly ChatTurnMessage[] | string {
  const { messages, hash_ids: hashes } = entry;
  if (messages !== undefined) {
    const read = Array.isArray(messages) ? messages.map(readMessage) : [undefined];
    if (read.includes(undefined) || read.at(-1)?.role !== "user") {
      return "messages should be a list of { role, content } with texts, the last one the user's";
    }
    return read as readonly ChatTurnMessage[];
  }
  const promptTokens = entry["promptTokens"] ?? entry["input_length"];
  if (!isCount(promptTokens)) return "promptTokens (or input_length) should be a whole number above 0";
  if (hashes !== undefined && !Array.isArray(hashes)) return "hash_ids should be a list";
  // The last block is shared only as far as the prompt goes.
  const shared = (hashes ?? []).map(block).join(" ").split(" ").slice(0, promptTokens).join(" ");
  const missing = promptTokens - (shared === "" ? 0 : shared.split(" ").length);
  const rest = missing > 0 ? textOfTokens(missing, random) : "";
  return [{ role: "user", content: [shared, rest].filter((part) => part !== "").join(" ") }];
}

function readMessage(value: unknown): ChatTurnMessage | undefined {
  const { role, content } = asJsonObject(value) ?? {};
  if (role !== "system" && role !== "user" && role !== "assistant") return undefined;
  return typeof content === "string" ? { role, content } : undefined;
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1;
}
