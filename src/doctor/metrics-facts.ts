import {
  type EngineLoadGauges,
  engineLoadFromMetrics,
  type PrometheusSample,
} from "../protocol/prometheus-text.ts";

/** What an engine's metrics page says of its configuration and state. Undefined: it does not say. */
export interface MetricsFacts {
  /** Tokens in a KV block. */
  readonly blockSize: string | undefined;
  /** vLLM's `cache_dtype`, for example `auto` or `fp8`. */
  readonly cacheDtype: string | undefined;
  readonly prefixCaching: boolean | undefined;
  readonly load: EngineLoadGauges | undefined;
  readonly sleeping: boolean | undefined;
}

/** Reads them; undefined when there is no `vllm:` series at all. */
export function metricsFacts(samples: readonly PrometheusSample[]): MetricsFacts | undefined {
  if (!samples.some(({ name }) => name.startsWith("vllm:"))) return undefined;
  const cache = samples.find(({ name }) => name === "vllm:cache_config_info")?.labels ?? {};
  const known = (label: string): string | undefined => {
    const value = cache[label];
    return value === undefined || value === "" || value === "None" ? undefined : value;
  };
  const awake = samples.find(
    ({ name, labels }) => name === "vllm:engine_sleep_state" && labels["sleep_state"] === "awake",
  );
  const prefixCaching = known("enable_prefix_caching")?.toLowerCase();
  return {
    blockSize: known("block_size"),
    cacheDtype: known("cache_dtype"),
    prefixCaching: prefixCaching === undefined ? undefined : prefixCaching === "true",
    load: engineLoadFromMetrics(samples),
    sleeping: awake === undefined ? undefined : awake.value === 0,
  };
}

/** Counters that move when KV does, summed over data-parallel ranks. Undefined: the engine has no such counter. */
export interface TransferCounters {
  /** Prompt tokens whose KV came from another engine. */
  readonly transferredTokens: number | undefined;
  /** Prompt tokens this engine computed itself. */
  readonly computedTokens: number | undefined;
  /** Transfers NIXL has made. */
  readonly nixlTransfers: number | undefined;
  /** Bytes NIXL has moved. */
  readonly nixlBytes: number | undefined;
  /** Seconds NIXL has spent on it. */
  readonly nixlSeconds: number | undefined;
  readonly failedTransfers: number | undefined;
  /** Requests whose KV nobody fetched in time. */
  readonly expired: number | undefined;
  /** Requests that ended. */
  readonly requests: number | undefined;
}

/** Reads them from a metrics page. */
export function transferCounters(samples: readonly PrometheusSample[]): TransferCounters {
  const sum = (name: string, source?: string): number | undefined => {
    const found = samples.filter(
      (sample) =>
        sample.name === name &&
        Number.isFinite(sample.value) &&
        (source === undefined || sample.labels["source"] === source),
    );
    return found.length === 0 ? undefined : found.reduce((total, { value }) => total + value, 0);
  };
  const bySource = "vllm:prompt_tokens_by_source_total";
  return {
    // The second counts the same tokens, in versions before there were sources.
    transferredTokens: sum(bySource, "external_kv_transfer") ?? sum("vllm:external_prefix_cache_hits_total"),
    computedTokens: sum(bySource, "local_compute"),
    nixlTransfers: sum("vllm:nixl_xfer_time_seconds_count"),
    nixlBytes: sum("vllm:nixl_bytes_transferred_sum"),
    nixlSeconds: sum("vllm:nixl_xfer_time_seconds_sum"),
    failedTransfers: sum("vllm:nixl_num_failed_transfers_total"),
    expired: sum("vllm:nixl_num_kv_expired_reqs_total"),
    requests: sum("vllm:request_success_total"),
  };
}

/**
 * How much the counters grew. A counter that appeared meanwhile started at 0; one that went down was reset by a restart
 * and is undefined.
 */
export function growth(before: TransferCounters, after: TransferCounters): TransferCounters {
  const grown = (name: keyof TransferCounters): number | undefined => {
    const end = after[name];
    const start = before[name] ?? 0;
    return end === undefined || end < start ? undefined : end - start;
  };
  return {
    transferredTokens: grown("transferredTokens"),
    computedTokens: grown("computedTokens"),
    nixlTransfers: grown("nixlTransfers"),
    nixlBytes: grown("nixlBytes"),
    nixlSeconds: grown("nixlSeconds"),
    failedTransfers: grown("failedTransfers"),
    expired: grown("expired"),
    requests: grown("requests"),
  };
}
