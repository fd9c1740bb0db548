import type * as z from "zod";

import { integer, number, objectOf, optional, reading, withDefault } from "./lax-schema.ts";
import { isRemoteUri, lacksBucket, remotePrefixWords } from "./remote-uri.ts";

/** LoRA adapters, loaded on demand. Ray's `LoraConfig`. The same adapters must be on prefill and decode. */
export interface LoraConfig {
  /** Remote folder with one sub-folder for each adapter; a trailing slash is dropped. */
  readonly dynamicLoraLoadingPath?: string | undefined;
  /** Adapters a replica keeps at once, >= 1. @default 16 */
  readonly maxNumAdaptersPerReplica: number;
  /** Seconds to wait for a download, > 0; null waits for ever. @default 30 */
  readonly downloadTimeoutS: number | null;
  /** How often a download is tried, >= 1. @default 3 */
  readonly maxDownloadTries: number;
}

/** In what the LoRA configurations of prefill and decode differ so that both may not have the same adapters. */
export function loraDisagreements(
  prefill: LoraConfig | undefined,
  decode: LoraConfig | undefined,
): readonly string[] {
  const place = (config: LoraConfig | undefined): string =>
    config === undefined ? "no lora_config" : JSON.stringify(config.dynamicLoraLoadingPath ?? null);
  const [left, right] = [place(prefill), place(decode)];
  const differences: string[] = [];
  if (left !== right) {
    differences.push(
      "lora_config differs: the same adapters must be on prefill and decode, but prefill has " +
        `${left} and decode has ${right} as dynamic_lora_loading_path`,
    );
  }
  const [most, other] = [prefill?.maxNumAdaptersPerReplica, decode?.maxNumAdaptersPerReplica];
  if (most !== undefined && other !== undefined && most !== other) {
    differences.push(
      `lora_config differs: prefill keeps ${most} adapters a replica and decode ${other} ` +
        "(max_num_adapters_per_replica), so that the side with fewer loads some anew that the other still has",
    );
  }
  return differences;
}

const loadingPath = reading<string>((path) => {
  if (typeof path !== "string") return { type: "string_type", message: "Input should be a valid string" };
  if (!isRemoteUri(path)) {
    return {
      type: "assertion_error",
      message:
        "Only AWS S3, Google Cloud Storage, and Azure Storage are supported. The dynamic_lora_loading_path must " +
        `start with ${remotePrefixWords}. Got "${path}" instead.`,
    };
  }
  // Ray turns "s3://" into "s3:" here and fails much later.
  if (lacksBucket(path)) {
    return { type: "value_error", message: `dynamic_lora_loading_path "${path}" names no bucket` };
  }
  return { value: path.replace(/\/+$/, "") };
});

/** Schema of {@link LoraConfig}. Seconds and tries of zero or less, which Ray lets through, are refused. */
export const loraConfigSchema: z.ZodType<LoraConfig> = objectOf("LoraConfig", {
  dynamicLoraLoadingPath: optional(loadingPath),
  maxNumAdaptersPerReplica: withDefault(integer({ greaterThan: 0 }), 16),
  downloadTimeoutS: withDefault(number({ greaterThan: 0 }).nullable(), 30),
  maxDownloadTries: withDefault(integer({ atLeast: 1 }), 3),
});
