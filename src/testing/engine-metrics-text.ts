/** Upper bounds of vLLM's time histograms, seconds. */
const firstTokenBuckets = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
  2560,
];
const latencyBuckets = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
];

/** How requests of an engine ended; vLLM's `finished_reason`. */
export type FinishedReason = "stop" | "length" | "abort" | "error";

class Histogram {
  readonly bounds: readonly number[];
  readonly #counts: number[];
  count = 0;
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.count++;
    this.sum += value;
    const index = this.bounds.findIndex((bound) => value <= bound);
    if (index >= 0) this.#counts[index] = (this.#counts[index] ?? 0) + 1;
  }

  cumulative(index: number): number {
    let total = 0;
    for (let bucket = 0; bucket <= index; bucket++) total += this.#counts[bucket] ?? 0;
    return total;
  }
}

/** Counters of one engine, which only go up while it lives. */
export class EngineMetrics {
  readonly finished: Record<FinishedReason, number> = { stop: 0, length: 0, abort: 0, error: 0 };
  readonly firstTokenSeconds = new Histogram(firstTokenBuckets);
  readonly latencySeconds = new Histogram(latencyBuckets);
  promptTokens = 0;
  promptTokensComputed = 0;
  promptTokensTransferred = 0;
  generationTokens = 0;
  kvExpired = 0;
  failedTransfers = 0;
  transfers = 0;
}

/** What the engine's gauges say at the moment of asking. */
export interface EngineGauges {
  readonly model: string;
  readonly running: number;
  readonly waiting: number;
  /** Requests waiting for KV from another engine; counted in `waiting`. */
  readonly deferred: number;
  /** 0 to 1. */
  readonly kvCacheUsage: number;
  readonly blockSize: number;
  readonly blocks: number;
  readonly sleeping: boolean;
  readonly adapters: readonly string[];
  /** Seconds since 1970. */
  readonly wallSeconds: number;
}

/** The engine's `/metrics` page, as prometheus_client writes it. */
export function engineMetricsText(metrics: EngineMetrics, gauges: EngineGauges): string {
  const lines: string[] = [];
  const model = gauges.model.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  const labels = (more: Readonly<Record<string, string>> = {}): string =>
    Object.entries({ engine: "0", model_name: model, ...more })
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `${name}="${value}"`)
      .join(",");
  const family = (name: string, type: string, help: string): void => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
  };
  const sample = (name: string, value: number, more?: Readonly<Record<string, string>>): void => {
    lines.push(`${name}{${labels(more)}} ${pythonFloat(value)}`);
  };
  const single = (name: string, type: string, help: string, value: number): void => {
    family(name, type, help);
    sample(name, value);
  };
  const histogram = (name: string, help: string, values: Histogram): void => {
    family(name, "histogram", help);
    for (const [index, bound] of values.bounds.entries()) {
      sample(`${name}_bucket`, values.cumulative(index), { le: pythonFloat(bound) });
    }
    sample(`${name}_bucket`, values.count, { le: "+Inf" });
    sample(`${name}_count`, values.count);
    sample(`${name}_sum`, values.sum);
  };

  single(
    "vllm:num_requests_running",
    "gauge",
    "Number of requests in model execution batches.",
    gauges.running,
  );
  single("vllm:num_requests_waiting", "gauge", "Number of requests waiting to be processed.", gauges.waiting);
  family("vllm:num_requests_waiting_by_reason", "gauge", "Number of waiting requests by reason.");
  sample("vllm:num_requests_waiting_by_reason", gauges.waiting - gauges.deferred, { reason: "capacity" });
  sample("vllm:num_requests_waiting_by_reason", gauges.deferred, { reason: "deferred" });
  const usageHelp = "KV-cache usage. 1 means 100 percent usage.";
  single("vllm:kv_cache_usage_perc", "gauge", usageHelp, gauges.kvCacheUsage);
  family("vllm:engine_sleep_state", "gauge", "Engine sleep state.");
  sample("vllm:engine_sleep_state", gauges.sleeping ? 0 : 1, { sleep_state: "awake" });
  sample("vllm:engine_sleep_state", gauges.sleeping ? 1 : 0, { sleep_state: "weights_offloaded" });
  single("vllm:prompt_tokens_total", "counter", "Number of prefill tokens processed.", metrics.promptTokens);
  family("vllm:prompt_tokens_by_source_total", "counter", "Number of prompt tokens by source.");
  sample("vllm:prompt_tokens_by_source_total", metrics.promptTokensComputed, { source: "local_compute" });
  sample("vllm:prompt_tokens_by_source_total", metrics.promptTokensTransferred, {
    source: "external_kv_transfer",
  });
  const tokensHelp = "Number of generation tokens processed.";
  single("vllm:generation_tokens_total", "counter", tokensHelp, metrics.generationTokens);
  family("vllm:request_success_total", "counter", "Count of successfully processed requests.");
  for (const [reason, count] of Object.entries(metrics.finished)) {
    sample("vllm:request_success_total", count, { finished_reason: reason });
  }
  histogram(
    "vllm:time_to_first_token_seconds",
    "Histogram of time to first token in seconds.",
    metrics.firstTokenSeconds,
  );
  histogram(
    "vllm:e2e_request_latency_seconds",
    "Histogram of e2e request latency in seconds.",
    metrics.latencySeconds,
  );
  const transfersHelp = "Number of external prefix cache tokens hit.";
  single("vllm:external_prefix_cache_hits_total", "counter", transfersHelp, metrics.promptTokensTransferred);
  const failedHelp = "Number of failed NIXL KV transfers.";
  single("vllm:nixl_num_failed_transfers_total", "counter", failedHelp, metrics.failedTransfers);
  const expiredHelp = "Number of requests whose KV expired.";
  single("vllm:nixl_num_kv_expired_reqs_total", "counter", expiredHelp, metrics.kvExpired);
  if (gauges.adapters.length > 0) {
    family("vllm:lora_requests_info", "gauge", "Running stats on lora requests.");
    const info = {
      max_lora: "4",
      running_lora_adapters: gauges.adapters.join(","),
      waiting_lora_adapters: "",
    };
    const text = Object.entries(info).map(([name, value]) => `${name}="${value}"`);
    lines.push(`vllm:lora_requests_info{${text.join(",")}} ${pythonFloat(gauges.wallSeconds)}`);
  }
  family("vllm:cache_config_info", "gauge", "Information of the LLMEngine CacheConfig");
  lines.push(
    `vllm:cache_config_info{block_size="${gauges.blockSize}",enable_prefix_caching="True",engine="0",` +
      `num_gpu_blocks="${gauges.blocks}"} 1.0`,
  );
  return `${lines.join("\n")}\n`;
}

/** A number as prometheus_client prints it: always with a point. */
function pythonFloat(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e16 ? `${value}.0` : String(value);
}
