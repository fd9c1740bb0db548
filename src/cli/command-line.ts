import { createRequire } from "node:module";

import { Command, CommanderError } from "commander";

import { ServeLLMError } from "../errors/serve-llm-error.ts";
import { buildCommand } from "./build-command.ts";
import { benchCommand } from "./bench-command.ts";
import { CliError } from "./cli-error.ts";
import { CliLog } from "./cli-log.ts";
import { demoCommand } from "./demo-command.ts";
import { doctorCommand } from "./doctor-command.ts";
import { mockCommand } from "./mock-command.ts";
import { mockVllmCommand } from "./mock-vllm-command.ts";
import { runCommand } from "./run-command.ts";

/**
 * Runs the `serve-llm` command to its end.
 *
 * @param argv as `process.argv`
 * @returns the exit code: 0, 1 when it did not work, 2 when the command was not understood
 */
export async function runCommandLine(argv: readonly string[]): Promise<number> {
  const program = new Command("serve-llm")
    .description("OpenAI requests to remote vLLM prefill and decode engines, as Ray Serve LLM does it.")
    .version(ownVersion(), "-v, --version")
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError("(serve-llm --help tells more)")
    .addCommand(runCommand())
    .addCommand(demoCommand())
    .addCommand(mockCommand())
    .addCommand(mockVllmCommand())
    .addCommand(doctorCommand())
    .addCommand(benchCommand())
    .addCommand(buildCommand())
    .addHelpText(
      "after",
      `
Examples:
  $ serve-llm demo                                  try it: mock engines, a curl line, a live view
  $ serve-llm run --prefill http://p0:8000,http://p1:8000 --decode http://d0:8000
  $ serve-llm run serve.yaml --prefill http://p0:8000 --decode http://d0:8000
  $ serve-llm mock --role decode --port 8200        one mock engine
  $ serve-llm doctor --prefill http://p0:8000 --decode http://d0:8000
  $ serve-llm build --target vllm serve.yaml        vllm serve commands for the engines

serve-llm help <command> shows the options of a command.`,
    );
  for (const command of [program, ...program.commands]) command.exitOverride();
  try {
    await program.parseAsync([...argv]);
    return 0;
  } catch (error) {
    return report(error, argv.includes("--json"));
  }
}

function report(error: unknown, json: boolean): number {
  if (error instanceof CommanderError) {
    // Commander has printed help, the version, or what was wrong already.
    return error.exitCode === 0 ? 0 : 2;
  }
  const log = new CliLog(json);
  if (error instanceof CliError) {
    log.error(error.message);
    return error.exitCode;
  }
  if (ServeLLMError.isInstance(error)) {
    log.error(error.message, { code: error.code });
    return 1;
  }
  log.error(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return 1;
}

function ownVersion(): string {
  // The package's own name resolves from the bundle as from the sources.
  const { version } = createRequire(import.meta.url)("serve-llm/package.json") as {
    readonly version: string;
  };
  return version;
}
