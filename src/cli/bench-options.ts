import { InvalidArgumentError, Option } from "commander";

import { type LengthDistribution, parseLengthDistribution } from "../benchmark/length-distribution.ts";
import type { LoadShape } from "../benchmark/load-run.ts";
import { readBaseUrl } from "../config/endpoint.ts";
import { CliError } from "./cli-error.ts";
import type { MockBehaviour } from "./mock-options.ts";
import { milliseconds, nonNegative, urlList, wholeNumber } from "./option-values.ts";

/** What `serve-llm bench` takes, beside how embedded mocks behave. */
export interface BenchOptions extends MockBehaviour {
  readonly url?: string | undefined;
  /** A config file whose application is put up in this process. */
  readonly file?: string | undefined;
  readonly prefill?: readonly string[] | undefined;
  readonly decode?: readonly string[] | undefined;
  readonly endpoints?: readonly string[] | undefined;
  readonly model?: string | undefined;
  readonly apiKeyEnv?: string | undefined;
  readonly concurrency?: number | undefined;
  readonly rate?: number | undefined;
  readonly trace?: string | undefined;
  readonly traceSpeed: number;
  readonly requests?: number | undefined;
  readonly durationS?: number | undefined;
  readonly promptTokens: LengthDistribution;
  readonly outputTokens: LengthDistribution;
  readonly turns: number;
  readonly thinkMs: number;
  readonly sharedPrefixes: number;
  readonly sharedPrefixTokens: number;
  readonly eos: boolean;
  readonly sloTtftMs?: number | undefined;
  readonly sloItlMs?: number | undefined;
  readonly requestTimeoutMs: number;
  readonly prefills: number;
  readonly decodes: number;
  readonly out?: string | undefined;
  readonly json: boolean;
}

const usualConcurrency = 8;
const usualRequests = 100;
const usualSeed = 1;

/** The options of {@link BenchOptions} that mocks do not have. */
export function benchOptions(): readonly Option[] {
  const option = (
    flags: string,
    text: string,
    parser?: (value: string) => unknown,
    usual?: unknown,
    shown?: string,
  ): Option => {
    const made = new Option(flags, text);
    if (parser !== undefined) made.argParser(parser);
    return usual === undefined ? made : made.default(usual, shown);
  };
  const short = (text: string): LengthDistribution => parseLengthDistribution(text);
  return [
    option(
      "--url <url>",
      "OpenAI endpoint to put load on (default: mock engines behind this library)",
      baseUrl,
    ),
    option("--prefill <urls>", "prefill engines of the config file, separated by commas", urlList),
    option("--decode <urls>", "decode engines of the config file, separated by commas", urlList),
    option("--endpoints <urls>", "engines of a config file's model that is not split", urlList),
    option("--model <id>", "model to ask for (default: the one that is served)"),
    option("--api-key-env <name>", "environment variable with the endpoint's or the engines' API key"),
    option("--concurrency <count>", `conversations at a time (default: ${usualConcurrency})`, wholeNumber(1)),
    option("--rate <per-second>", "begin conversations at random times instead, so many a second", aboveZero),
    option("--trace <file.jsonl>", "begin them as a trace says instead"),
    option("--trace-speed <factor>", "play the trace so many times as fast", aboveZero, 1),
    option(
      "--requests <count>",
      `conversations in all (default: ${usualRequests} without --duration-s or --trace)`,
      wholeNumber(1),
    ),
    option("--duration-s <seconds>", "begin none after that time", aboveZero),
    option(
      "--prompt-tokens <lengths>",
      "128, uniform:64-256, lognormal:256,0.8,4096",
      lengths,
      short("256"),
      "256",
    ),
    option("--output-tokens <lengths>", "the same for answers", lengths, short("64"), "64"),
    option("--turns <count>", "turns of a conversation", wholeNumber(1), 1),
    option("--think-ms <ms>", "time between an answer and the next turn", nonNegative, 0),
    option("--shared-prefixes <count>", "system prompts that conversations share", wholeNumber(0), 0),
    option("--shared-prefix-tokens <count>", "length of each", wholeNumber(1), 512),
    option("--no-eos", "ask engines not to end before --output-tokens (vLLM's ignore_eos)"),
    option("--slo-ttft-ms <ms>", "goodput: time to first token a request may take", milliseconds),
    option("--slo-itl-ms <ms>", "goodput: mean time between tokens a request may take", milliseconds),
    option("--request-timeout-ms <ms>", "time a request may take", milliseconds, 600_000),
    option("--prefills <count>", "mock prefill engines", wholeNumber(1), 2),
    option("--decodes <count>", "mock decode engines", wholeNumber(1), 2),
    option("--out <file.json>", "write the report there, for serve-llm bench compare"),
  ];
}

/** When conversations begin. @throws CliError when the options contradict each other */
export function loadShape({ concurrency, rate, trace }: BenchOptions): LoadShape {
  const given = [
    ...(concurrency === undefined ? [] : ["--concurrency"]),
    ...(rate === undefined ? [] : ["--rate"]),
    ...(trace === undefined ? [] : ["--trace"]),
  ];
  if (given.length > 1)
    throw new CliError(`${given.join(" and ")} do not go together; choose one.`, { exitCode: 2 });
  if (rate !== undefined) return { kind: "open", perSecond: rate };
  if (trace !== undefined) return { kind: "trace" };
  return { kind: "closed", concurrency: concurrency ?? usualConcurrency };
}

/** What is drawn when no trace says it. */
const drawn = [
  "promptTokens",
  "outputTokens",
  "turns",
  "thinkMs",
  "sharedPrefixes",
  "sharedPrefixTokens",
] as const;
const ofMocks = [
  "prefills",
  "decodes",
  "ttftMs",
  "itlMs",
  "prefillMsPerToken",
  "kvTransferMs",
  "jitter",
  "kvLeaseMs",
  "maxModelLen",
] as const;

const ofFiles = ["prefill", "decode", "endpoints"] as const;

/**
 * Refuses options that would play no part beside the others.
 *
 * @param given whether the user wrote that option
 * @throws CliError naming the first of them
 */
export function refuseIdleOptions(
  { url, file, trace, sharedPrefixes }: BenchOptions,
  given: (name: keyof BenchOptions) => boolean,
): void {
  const refuse = (names: readonly (keyof BenchOptions)[], why: string): void => {
    const idle = names.find(given);
    if (idle === undefined) return;
    const flag = idle.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new CliError(`--${flag} has no effect ${why}.`, { exitCode: 2 });
  };
  if (url !== undefined) refuse(ofMocks, "with --url: it is about mock engines");
  if (file === undefined) refuse(ofFiles, "without a config file");
  else refuse(["url", ...ofMocks], "with a config file");
  if (url === undefined && file === undefined) {
    refuse(["apiKeyEnv"], "without --url or a config file: mock engines want no key");
  }
  if (trace === undefined) refuse(["traceSpeed"], "without --trace");
  else refuse(drawn, "with --trace: the trace says what is sent");
  if (sharedPrefixes === 0) refuse(["sharedPrefixTokens"], "without --shared-prefixes");
}

/** How many conversations begin at most; undefined: as many as time or trace allow. */
export function requestCount({ requests, durationS, trace }: BenchOptions): number | undefined {
  return requests ?? (durationS === undefined && trace === undefined ? usualRequests : undefined);
}

/** The seed of prompts, lengths and arrivals. */
export function seedOf({ seed }: BenchOptions): number {
  return seed ?? usualSeed;
}

/** What tells this run from others, for its report. Options that play no part are left out. */
export function recordedOptions(
  options: BenchOptions,
  target: { readonly model: string; readonly url: string },
): Readonly<Record<string, string | number | boolean>> {
  const shape = loadShape(options);
  const entries: readonly (readonly [string, string | number | boolean | undefined])[] = [
    ["target", options.file ?? (options.url === undefined ? "mock engines" : target.url)],
    ["model", target.model],
    ["shape", shape.kind],
    ["concurrency", shape.kind === "closed" ? shape.concurrency : undefined],
    ["rate", shape.kind === "open" ? shape.perSecond : undefined],
    ["trace", options.trace],
    ["traceSpeed", shape.kind === "trace" ? options.traceSpeed : undefined],
    ["requests", requestCount(options)],
    ["durationS", options.durationS],
    ["promptTokens", shape.kind === "trace" ? undefined : JSON.stringify(options.promptTokens)],
    ["outputTokens", shape.kind === "trace" ? undefined : JSON.stringify(options.outputTokens)],
    ["turns", shape.kind === "trace" ? undefined : options.turns],
    ["thinkMs", shape.kind === "trace" ? undefined : options.thinkMs],
    ["sharedPrefixes", shape.kind === "trace" ? undefined : options.sharedPrefixes],
    ["sharedPrefixTokens", options.sharedPrefixes === 0 ? undefined : options.sharedPrefixTokens],
    ["ignoreEos", !options.eos],
    ["sloTtftMs", options.sloTtftMs],
    ["sloItlMs", options.sloItlMs],
    ["seed", seedOf(options)],
    ...(options.url === undefined && options.file === undefined ? mockEntries(options) : []),
  ];
  return Object.fromEntries(entries.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

/** Mock engines are as fast as they are told to be. */
function mockEntries(options: BenchOptions): readonly (readonly [string, number])[] {
  const { prefills, decodes, ttftMs, itlMs, prefillMsPerToken, kvTransferMs, jitter } = options;
  return Object.entries({ prefills, decodes, ttftMs, itlMs, prefillMsPerToken, kvTransferMs, jitter });
}

function lengths(value: string): LengthDistribution {
  try {
    return parseLengthDistribution(value);
  } catch {
    throw new InvalidArgumentError(
      "Give 128, uniform:64-256 or lognormal:256,0.8,4096 (median, sigma, most).",
    );
  }
}

function aboveZero(value: string): number {
  const number = nonNegative(value);
  if (number > 0) return number;
  throw new InvalidArgumentError("Give a number above 0.");
}

function baseUrl(value: string): string {
  const url = readBaseUrl(value);
  if ("value" in url) return url.value;
  throw new InvalidArgumentError(`${url.message}. Give a base URL, for example http://127.0.0.1:8000.`);
}
