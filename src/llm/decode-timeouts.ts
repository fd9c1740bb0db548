import type { LLMConfig } from "../config/llm-config.ts";
import type { DecodeTimeouts } from "./decode-call.ts";

/** The limits of an answering leg, from its side's configuration. */
export function decodeTimeoutsOf(config: LLMConfig): DecodeTimeouts {
  const { firstByteTimeoutMs, interTokenTimeoutMs, slowClientTimeoutMs } = config.client;
  return { firstByteTimeoutMs, interTokenTimeoutMs, slowClientTimeoutMs };
}
