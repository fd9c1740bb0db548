import { Command, Option } from "commander";

import { type DoctorSubject, subjectOfFile, subjectOfUrls } from "../doctor/doctor-subject.ts";
import { examine } from "../doctor/examine.ts";
import { systemClock } from "../internal/clock.ts";
import { systemRandom } from "../internal/random.ts";
import { apiKeyFrom } from "./api-key.ts";
import { CliError } from "./cli-error.ts";
import { CliLog } from "./cli-log.ts";
import { countsText, reportText } from "./doctor-text.ts";
import { milliseconds, urlList } from "./option-values.ts";

interface DoctorCommandOptions {
  readonly prefill?: readonly string[] | undefined;
  readonly decode?: readonly string[] | undefined;
  readonly model?: string | undefined;
  readonly kvConnector?: string | undefined;
  readonly apiKeyEnv?: string | undefined;
  readonly timeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly quiet: boolean;
  readonly json: boolean;
}

/** `serve-llm doctor`: what keeps prefill/decode from working. */
export function doctorCommand(): Command {
  return new Command("doctor")
    .summary("find what keeps prefill/decode from working")
    .description(
      "Asks every engine what it is, compares the two sides, has each prefill engine prefill, and sends requests\n" +
        "through the library with proof that KV moved. Says what to do about everything it finds.",
    )
    .argument(
      "[serve.yaml]",
      "Ray Serve config file to take model, connector, client settings and engines from",
    )
    .addOption(new Option("--prefill <urls>", "prefill engines, separated by commas").argParser(urlList))
    .addOption(new Option("--decode <urls>", "decode engines, separated by commas").argParser(urlList))
    .option("--model <id>", "model to examine (default: the one all engines serve)")
    .option("--kv-connector <name>", "the engines' KV connector (default: NixlConnector)")
    .option("--api-key-env <name>", "environment variable with the engines' API key")
    .addOption(
      new Option("--timeout-ms <ms>", "time an engine gets for a question")
        .argParser(milliseconds)
        .default(5_000),
    )
    .addOption(
      new Option("--request-timeout-ms <ms>", "time a request gets that generates")
        .argParser(milliseconds)
        .default(60_000),
    )
    .option("-q, --quiet", "leave out what is in order", false)
    .addOption(new Option("--json", "print one JSON object, for machines").default(false))
    .addHelpText(
      "after",
      `
Exit code: 0 without problems (warnings may be), 1 with problems, 2 when the command was not understood.

Each pair of engines generates 16 tokens twice; prompts are made up, and their few KV blocks free themselves.

Examples:
  $ serve-llm doctor --prefill http://p0:8000,http://p1:8000 --decode http://d0:8000
  $ serve-llm doctor serve.yaml
  $ serve-llm doctor serve.yaml --prefill http://p0:8000 --decode http://d0:8000 --json`,
    )
    .action(runDoctor);
}

async function runDoctor(config: string | undefined, options: DoctorCommandOptions): Promise<void> {
  const { json, quiet, timeoutMs, requestTimeoutMs } = options;
  const log = new CliLog(json);
  const subject = await subjectOf(config, options, log);
  const report = await examine(subject, {
    clock: systemClock,
    random: systemRandom,
    timeoutMs,
    requestTimeoutMs,
    onStep: (text) => {
      if (!json && process.stderr.isTTY) process.stderr.write(`${text} ...\n`);
    },
  });
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : reportText(report, { quiet }));
  if (report.problems > 0) throw new CliError(countsText(report));
  if (!json) process.stdout.write(`${countsText(report)}\n`);
}

async function subjectOf(
  config: string | undefined,
  options: DoctorCommandOptions,
  log: CliLog,
): Promise<DoctorSubject> {
  const { prefill, decode, model, kvConnector } = options;
  const apiKey = options.apiKeyEnv === undefined ? undefined : apiKeyFrom(options.apiKeyEnv);
  if (config === undefined) {
    if (prefill === undefined || decode === undefined) {
      throw misused("Say where the engines are: --prefill URL,URL --decode URL,URL, or a config file.");
    }
    return subjectOfUrls({ prefill, decode, modelId: model, kvConnector, apiKey });
  }
  for (const [flag, value] of [
    ["--model", model],
    ["--kv-connector", kvConnector],
  ] as const) {
    if (value !== undefined)
      throw misused(`${flag} stands in the config file (${config}); leave it out here.`);
  }
  const discovery = {
    deployment: "doctor",
    clock: systemClock,
    random: systemRandom,
    warn: (message: string) => log.warn(message),
  };
  return subjectOfFile(config, { prefill, decode, apiKey, discovery });
}

function misused(message: string): CliError {
  return new CliError(message, { exitCode: 2 });
}
