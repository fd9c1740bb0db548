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

/** What one engine says of itself at the moment of asking. */
export interface EngineReading {
  /** vLLM's label: the data-parallel rank. */
  readonly engine: string;
  readonly metrics: EngineMetrics;
  readonly running: number;
  readonly waiting: number;
  /** Requests waiting for KV from another engine; counted in `waiting`. */
  readonly deferred: number;
  /** 0 to 1. */
  readonly kvCacheUsage: number;
  readonly blockSize: number;
  readonly blocks: number;
  readonly sleeping: boolean;
}

/** A server's `/metrics` page, as prometheus_client writes it: every engine's samples, family by family. */
export function engineMetricsText(
  modelName: string,
  engines: readonly EngineReading[],
  server: {
    readonly adapters: readonly string[];
    /** Seconds since 1970. */
    readonly wallSeconds: number;
  },
): string {
  const lines: string[] = [];
  const model = modelName.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  const labels = (engine: string, more: Readonly<Record<string, string>> = {}): string =>
    Object.entries({ engine, model_name: model, ...more })
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `${name}="${value}"`)
      .join(",");
  const family = (name: string, type: string, help: string): void => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
  };
  const sample = (
    name: string,
    value: number,
    engine: string,
    more?: Readonly<Record<string, string>>,
  ): void => {
    lines.push(`${name}{${labels(engine, more)}} ${pythonFloat(value)}`);
  };
  const single = (
    name: string,
    type: string,
    help: string,
    value: (engine: EngineReading) => number,
  ): void => {
    family(name, type, help);
    for (const each of engines) sample(name, value(each), each.engine);
  };
  const split = (
    name: string,
    type: string,
    help: string,
    label: string,
    values: (engine: EngineReading) => Readonly<Record<string, number>>,
  ): void => {
    family(name, type, help);
    for (const each of engines) {
      for (const [key, value] of Object.entries(values(each)))
        sample(name, value, each.engine, { [label]: key });
    }
  };
  const histogram = (name: string, help: string, pick: (metrics: EngineMetrics) => Histogram): void => {
    family(name, "histogram", help);
    for (const { engine, metrics } of engines) {
      const values = pick(metrics);
      for (const [index, bound] of values.bounds.entries()) {
        sample(`${name}_bucket`, values.cumulative(index), engine, { le: pythonFloat(bound) });
      }
      sample(`${name}_bucket`, values.count, engine, { le: "+Inf" });
      sample(`${name}_count`, values.count, engine);
      sample(`${name}_sum`, values.sum, engine);
    }
  };

  const runningHelp = "Number of requests in model execution batches.";
  single("vllm:num_requests_running", "gauge", runningHelp, ({ running }) => running);
  const waitingHelp = "Number of requests waiting to be processed.";
  single("vllm:num_requests_waiting", "gauge", waitingHelp, ({ waiting }) => waiting);
  const reasonHelp = "Number of waiting requests by reason.";
  split("vllm:num_requests_waiting_by_reason", "gauge", reasonHelp, "reason", ({ waiting, deferred }) => ({
    capacity: waiting - deferred,
    deferred,
  }));
  const usageHelp = "KV-cache usage. 1 means 100 percent usage.";
  single("vllm:kv_cache_usage_perc", "gauge", usageHelp, ({ kvCacheUsage }) => kvCacheUsage);
  split("vllm:engine_sleep_state", "gauge", "Engine sleep state.", "sleep_state", ({ sleeping }) => ({
    awake: sleeping ? 0 : 1,
    weights_offloaded: sleeping ? 1 : 0,
  }));
  const promptHelp = "Number of prefill tokens processed.";
  single("vllm:prompt_tokens_total", "counter", promptHelp, ({ metrics }) => metrics.promptTokens);
  const sourceHelp = "Number of prompt tokens by source.";
  split("vllm:prompt_tokens_by_source_total", "counter", sourceHelp, "source", ({ metrics }) => ({
    local_compute: metrics.promptTokensComputed,
    external_kv_transfer: metrics.promptTokensTransferred,
  }));
  const tokensHelp = "Number of generation tokens processed.";
  single("vllm:generation_tokens_total", "counter", tokensHelp, ({ metrics }) => metrics.generationTokens);
  const successHelp = "Count of successfully processed requests.";
  split(
    "vllm:request_success_total",
    "counter",
    successHelp,
    "finished_reason",
    ({ metrics }) => metrics.finished,
  );
  const firstTokenHelp = "Histogram of time to first token in seconds.";
  histogram("vllm:time_to_first_token_seconds", firstTokenHelp, ({ firstTokenSeconds }) => firstTokenSeconds);
  const latencyHelp = "Histogram of e2e request latency in seconds.";
  histogram("vllm:e2e_request_latency_seconds", latencyHelp, ({ latencySeconds }) => latencySeconds);
  const transfersHelp = "Number of external prefix cache tokens hit.";
  const transferred = ({ metrics }: EngineReading): number => metrics.promptTokensTransferred;
  single("vllm:external_prefix_cache_hits_total", "counter", transfersHelp, transferred);
  const failedHelp = "Number of failed NIXL KV transfers.";
  const failed = ({ metrics }: EngineReading): number => metrics.failedTransfers;
  single("vllm:nixl_num_failed_transfers_total", "counter", failedHelp, failed);
  const expiredHelp = "Number of requests whose KV expired.";
  single("vllm:nixl_num_kv_expired_reqs_total", "counter", expiredHelp, ({ metrics }) => metrics.kvExpired);
  if (server.adapters.length > 0) {
    family("vllm:lora_requests_info", "gauge", "Running stats on lora requests.");
    const info = {
      max_lora: "4",
      running_lora_adapters: server.adapters.join(","),
      waiting_lora_adapters: "",
    };
    const text = Object.entries(info).map(([name, value]) => `${name}="${value}"`);
    lines.push(`vllm:lora_requests_info{${text.join(",")}} ${pythonFloat(server.wallSeconds)}`);
  }
  family("vllm:cache_config_info", "gauge", "Information of the LLMEngine CacheConfig");
  for (const { engine, blockSize, blocks } of engines) {
    lines.push(
      `vllm:cache_config_info{block_size="${blockSize}",enable_prefix_caching="True",engine="${engine}",` +
        `num_gpu_blocks="${blocks}"} 1.0`,
    );
  }
  return `${lines.join("\n")}\n`;
}

/** A number as prometheus_client prints it: always with a point. */
function pythonFloat(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e16 ? `${value}.0` : String(value);
}
