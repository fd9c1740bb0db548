import type { LLMConfig } from "../config/llm-config.ts";
import type { DecodeTimeouts } from "./call-watchdog.ts";

/** How an answering leg behaves, from its side's configuration. */
export interface AnsweringOptions {
  readonly timeouts: DecodeTimeouts;
  /** Milliseconds for which tokens of a stream are gathered; 0 sends each at once. */
  readonly streamBatchingIntervalMs: number;
}

/** Ray gathers for 50 ms unless told otherwise; that only costs latency here, so ours is 0. */
const defaultBatchingMs = 0;

export function answeringOptionsOf(config: LLMConfig): AnsweringOptions {
  const { firstByteTimeoutMs, interTokenTimeoutMs, slowClientTimeoutMs } = config.client;
  return {
    timeouts: { firstByteTimeoutMs, interTokenTimeoutMs, slowClientTimeoutMs },
    streamBatchingIntervalMs: config.streamBatchingIntervalMs(defaultBatchingMs),
  };
}
