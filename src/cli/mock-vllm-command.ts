import { Command } from "commander";

import { environmentVariable } from "../config/environment.ts";
import { MockVLLMEngine } from "../testing/mock-vllm-engine.ts";
import { CliError, listenError } from "./cli-error.ts";
import { CliLog } from "./cli-log.ts";
import { addMockOptions, type MockBehaviour, mockEngineOptions } from "./mock-options.ts";
import { hostOption, jsonOption, nonNegative, portOption } from "./option-values.ts";
import { stopSignal } from "./stop-signal.ts";

interface MockVllmOptions extends MockBehaviour {
  readonly port: number;
  readonly host: string;
  readonly servedModelName?: readonly string[] | undefined;
  readonly readyDelayMs: number;
  readonly json: boolean;
}

/** `serve-llm mock-vllm serve MODEL ...`: a mock engine that takes the command line of `vllm serve`. */
export function mockVllmCommand(): Command {
  const command = new Command("mock-vllm")
    .summary("a mock engine that takes the command line of vllm")
    .description(
      "Takes the words of `vllm serve MODEL ...` and serves a mock engine at that host and port. Flags of vLLM that a\n" +
        "mock engine has no use for are accepted. For vllmProcesses({ command }) on a machine without GPUs.",
    )
    .argument("<serve>", 'the word "serve"')
    .argument("<model>", "what vLLM would load")
    .allowUnknownOption()
    .allowExcessArguments()
    .addOption(portOption(8000))
    .addOption(hostOption())
    .option("--served-model-name <names...>", "name of the model it serves (default: MODEL)")
    .option("--ready-delay-ms <ms>", "time until it listens", nonNegative, 0);
  return addMockOptions(command, { ttftMs: 0, itlMs: 0, prefillMsPerToken: 0 })
    .addOption(jsonOption())
    .action(serveMockVllm);
}

async function serveMockVllm(verb: string, model: string, options: MockVllmOptions): Promise<void> {
  if (verb !== "serve") throw new CliError(`Only "serve" is known here, not "${verb}".`, { exitCode: 2 });
  const log = new CliLog(options.json);
  const engine = new MockVLLMEngine({
    ...mockEngineOptions(options),
    host: options.host,
    port: options.port,
    model: options.servedModelName?.[0] ?? model,
    apiKey: environmentVariable("VLLM_API_KEY"),
    readyDelayMs: options.readyDelayMs,
  });
  const stop = stopSignal();
  try {
    await engine.start().catch((error: unknown) => {
      throw listenError(error, options.host, options.port);
    });
    const { url, port } = engine;
    log.info("listening", `Mock vLLM engine serves ${engine.options.model} on ${url}`, { url, port });
    const signal = await stop.received;
    await engine.stop();
    log.info("stopped", `Stopped (${signal})`, { signal });
  } finally {
    stop.dispose();
  }
}
