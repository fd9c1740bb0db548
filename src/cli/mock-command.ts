import { Command, Option } from "commander";

import { MockVLLMEngine } from "../testing/mock-vllm-engine.ts";
import { listenError } from "./cli-error.ts";
import { CliLog } from "./cli-log.ts";
import { addMockOptions, type MockBehaviour, mockEngineOptions } from "./mock-options.ts";
import { hostOption, jsonOption, portOption } from "./option-values.ts";
import { stopSignal } from "./stop-signal.ts";

interface MockCommandOptions extends MockBehaviour {
  readonly role: "prefill" | "decode" | "both";
  readonly port: number;
  readonly host: string;
  readonly model: string;
  readonly apiKey?: string | undefined;
  readonly json: boolean;
}

/** `serve-llm mock`: one mock vLLM engine. */
export function mockCommand(): Command {
  const command = new Command("mock")
    .summary("one mock vLLM engine")
    .description(
      "Serves a vLLM engine without a model: real routes, real KV hand-over, made-up text.\n" +
        "Prefill and decode engines of different processes work together.",
    )
    .addOption(
      new Option("--role <role>", "what it is called; requests decide what it does")
        .choices(["prefill", "decode", "both"])
        .default("both"),
    )
    .addOption(portOption(8200))
    .addOption(hostOption())
    .option("--model <id>", "name of the model it serves", "mock-model")
    .option("--api-key <key>", "key that /v1 then asks for");
  return addMockOptions(command, { ttftMs: 0, itlMs: 0, prefillMsPerToken: 0 })
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Examples:
  $ serve-llm mock --role prefill --port 8100
  $ serve-llm mock --role decode --port 8200 --itl-ms 20
  $ serve-llm run --prefill http://127.0.0.1:8100 --decode http://127.0.0.1:8200`,
    )
    .action(serveMock);
}

async function serveMock(options: MockCommandOptions): Promise<void> {
  const log = new CliLog(options.json);
  const engine = new MockVLLMEngine({
    ...mockEngineOptions(options),
    role: options.role,
    host: options.host,
    port: options.port,
    model: options.model,
    apiKey: options.apiKey,
  });
  const stop = stopSignal();
  try {
    await engine.start().catch((error: unknown) => {
      throw listenError(error, options.host, options.port);
    });
    log.info("listening", `Mock vLLM engine (${options.role}) serves ${options.model} on ${engine.url}`, {
      url: engine.url,
      port: engine.port,
      role: options.role,
      model: options.model,
      engineId: engine.engineId,
    });
    const signal = await stop.received;
    const { issued, consumed, expired, released } = engine.ledger;
    await engine.stop();
    log.info(
      "stopped",
      `Stopped (${signal}) after ${engine.requests.length} requests; KV handles: ${issued} issued, ${consumed} consumed, ` +
        `${expired} expired, ${released} released`,
      { signal, requests: engine.requests.length, kv: { issued, consumed, expired, released } },
    );
  } finally {
    stop.dispose();
  }
}
