import { type Command, Option } from "commander";

import type { MockVLLMEngineOptions } from "../testing/mock-engine-options.ts";
import { fraction, milliseconds, nonNegative, wholeNumber } from "./option-values.ts";

/** How mock engines behave, as the commands take it. */
export interface MockBehaviour {
  readonly ttftMs: number;
  readonly itlMs: number;
  readonly prefillMsPerToken: number;
  readonly kvTransferMs: number;
  readonly jitter: number;
  readonly kvLeaseMs: number;
  readonly maxModelLen: number;
  readonly seed?: number | undefined;
}

/** Adds the options of {@link MockBehaviour} to a command. */
export function addMockOptions(
  command: Command,
  latency: { ttftMs: number; itlMs: number; prefillMsPerToken: number },
): Command {
  const option = (
    flags: string,
    description: string,
    parser: (value: string) => number,
    usual?: number,
  ): Option => {
    const made = new Option(flags, description).argParser(parser);
    return usual === undefined ? made : made.default(usual);
  };
  return command
    .addOption(
      option("--ttft-ms <ms>", "time before the first token, beside prefill", nonNegative, latency.ttftMs),
    )
    .addOption(option("--itl-ms <ms>", "time between two tokens", nonNegative, latency.itlMs))
    .addOption(
      option(
        "--prefill-ms-per-token <ms>",
        "time to compute a prompt token",
        nonNegative,
        latency.prefillMsPerToken,
      ),
    )
    .addOption(option("--kv-transfer-ms <ms>", "time to fetch KV from a prefill engine", nonNegative, 0))
    .addOption(option("--jitter <part>", "random part of each of these times, 0 to 1", fraction, 0))
    .addOption(option("--kv-lease-ms <ms>", "how long KV stays pinned for decode", milliseconds, 30_000))
    .addOption(option("--max-model-len <tokens>", "prompt and answer together", wholeNumber(1), 4096))
    .addOption(option("--seed <number>", "makes ids and jitter repeat", wholeNumber(0)));
}

/** The options of an engine that behaves so. */
export function mockEngineOptions(behaviour: MockBehaviour): MockVLLMEngineOptions {
  return {
    kvLeaseMs: behaviour.kvLeaseMs,
    maxModelLen: behaviour.maxModelLen,
    seed: behaviour.seed,
    latency: {
      timeToFirstTokenMs: behaviour.ttftMs,
      interTokenMs: behaviour.itlMs,
      prefillMsPerToken: behaviour.prefillMsPerToken,
      kvTransferMs: behaviour.kvTransferMs,
      jitter: behaviour.jitter,
    },
  };
}
