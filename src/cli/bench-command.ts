import { readFileSync, writeFileSync } from "node:fs";

import { Command, Option } from "commander";

import { type Conversation, ConversationSource } from "../benchmark/conversation.ts";
import { LoadRun } from "../benchmark/load-run.ts";
import { summarize } from "../benchmark/measurement.ts";
import { OpenAITarget } from "../benchmark/openai-target.ts";
import { compareRuns, parseRunReport, type RunReport } from "../benchmark/run-report.ts";
import { parseTrace } from "../benchmark/trace-file.ts";
import { systemClock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import { seededRandom } from "../testing/seeded-random.ts";
import {
  benchOptions,
  type BenchOptions,
  loadShape,
  recordedOptions,
  refuseIdleOptions,
  requestCount,
  seedOf,
} from "./bench-options.ts";
import { benchEndpoint } from "./bench-target.ts";
import { comparisonText, progressText, summaryText } from "./bench-text.ts";
import { CliError, reasonOf } from "./cli-error.ts";
import { CliLog } from "./cli-log.ts";
import { liveView } from "./live-view.ts";
import { addMockOptions } from "./mock-options.ts";
import { stopSignal } from "./stop-signal.ts";

/** `serve-llm bench`: load, measured. */
export function benchCommand(): Command {
  const command = new Command("bench")
    .summary("put load on an OpenAI endpoint and measure")
    .description(
      "Streams chat completions from an OpenAI endpoint, from the application of a config file, or from mock engines\n" +
        "behind this library, and reports time to first token, time between tokens, end to end, throughput and goodput.",
    )
    .argument("[serve.yaml]", "Ray Serve config file: its application is put up in this process");
  for (const option of benchOptions()) command.addOption(option);
  return addMockOptions(command, { ttftMs: 20, itlMs: 10, prefillMsPerToken: 0.1 })
    .addOption(new Option("--json", "print the report as JSON, for machines").default(false))
    .addCommand(compareCommand().exitOverride())
    .addHelpText(
      "after",
      `
With --rate and --trace times count from when a request was due, not from when it could be sent. Options about
mock engines do not go together with --url. The same seed makes the same prompts, lengths and arrivals: engines may
have them in their prefix caches from the run before; another --seed makes others.

Examples:
  $ serve-llm bench --url http://127.0.0.1:8000 --concurrency 32 --requests 1000 --out before.json
  $ serve-llm bench --url http://127.0.0.1:8000 --rate 10 --duration-s 60 --slo-ttft-ms 500 --slo-itl-ms 50
  $ serve-llm bench serve.yaml --prefill http://p0:8000 --decode http://d0:8000
  $ serve-llm bench compare before.json after.json`,
    )
    .action((file: string | undefined, given: BenchOptions, own: Command) => {
      const options = { ...given, file };
      refuseIdleOptions(options, (name) => own.getOptionValueSource(name) === "cli");
      return runBench(options);
    });
}

function compareCommand(): Command {
  return new Command("compare")
    .summary("compare two reports")
    .argument("<before.json>", "report of a run, from --out")
    .argument("<after.json>", "report of another")
    .addOption(new Option("--json", "print the comparison as JSON, for machines").default(false))
    .action((before: string, after: string, _options: unknown, command: Command) => {
      const comparison = compareRuns(readReport(before), readReport(after));
      // The option may be taken for one of `bench` itself.
      const { json } = command.optsWithGlobals<{ readonly json: boolean }>();
      process.stdout.write(json ? `${JSON.stringify(comparison)}\n` : comparisonText(comparison));
    });
}

async function runBench(options: BenchOptions): Promise<void> {
  const log = new CliLog(options.json);
  const shape = loadShape(options);
  const random = seededRandom(seedOf(options));
  const next = conversations(options, random, log);
  const limits = {
    count: requestCount(options),
    durationMs: options.durationS === undefined ? undefined : options.durationS * 1000,
  };
  const endpoint = await benchEndpoint(options, log);
  const target = new OpenAITarget({
    ...endpoint,
    timeoutMs: options.requestTimeoutMs,
    ignoreEos: !options.eos,
    clock: systemClock,
  });
  const stop = stopSignal();
  const stopped = new AbortController();
  void stop.received.then(() => stopped.abort());
  const { thinkMs } = options;
  const arrivals = seededRandom(seedOf(options) + 1);
  const load = new LoadRun({
    target,
    shape,
    next,
    ...limits,
    thinkMs,
    clock: systemClock,
    random: arrivals,
    signal: stopped.signal,
  });
  const stopView = options.json ? () => undefined : liveView(() => progressText(load.progress, limits));
  const startedWallMs = systemClock.wallNow();
  try {
    const measurements = await load.run().finally(stopView);
    const summary = summarize(measurements, {
      firstTokenMs: options.sloTtftMs,
      interTokenMs: options.sloItlMs,
    });
    const recorded = recordedOptions(options, endpoint);
    report({ format: "serve-llm bench", version: 1, startedWallMs, options: recorded, summary }, options);
  } finally {
    stop.dispose();
    await target.close();
    await endpoint.close();
  }
}

function report(result: RunReport, { json, out }: BenchOptions): void {
  process.stdout.write(json ? `${JSON.stringify(result)}\n` : `\n${summaryText(result.summary)}`);
  if (out !== undefined) {
    try {
      writeFileSync(out, `${JSON.stringify(result, null, 2)}\n`);
    } catch (error) {
      throw new CliError(`The report could not be written: ${reasonOf(error)}`, { cause: error });
    }
  }
  const { requests, succeeded } = result.summary;
  if (succeeded === 0) throw new CliError(requests === 0 ? "No request was sent." : "No request succeeded.");
}

/** Where conversations come from: a trace, or drawn as they are wanted. */
function conversations(
  options: BenchOptions,
  random: Random,
  log: CliLog,
): (atMs?: number) => Conversation | undefined {
  const { trace, traceSpeed } = options;
  if (trace === undefined) {
    const source = new ConversationSource(options, random);
    return (atMs) => source.next(atMs);
  }
  const { conversations, ignoredFields } = parseTrace(readText(trace), traceSpeed, random);
  if (ignoredFields.length > 0) log.warn(`Fields of the trace without effect: ${ignoredFields.join(", ")}`);
  const waiting = conversations.values();
  return () => {
    const { done, value } = waiting.next();
    return done === true ? undefined : value;
  };
}

function readReport(path: string): RunReport {
  return parseRunReport(readText(path), path);
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new CliError(`${path} can't be read: ${reasonOf(error)}`, { cause: error });
  }
}
