/** One metric: what is exported, and what it means. */
export interface MetricDefinition {
  /** As Prometheus sees it. */
  readonly name: string;
  readonly kind: "counter" | "gauge" | "histogram";
  readonly help: string;
  /** Labels beside `application`, which every metric has. Each has a closed set of values. */
  readonly labels: readonly string[];
  /** Upper bounds of a histogram's buckets, in its own unit. */
  readonly buckets?: readonly number[] | undefined;
}

/** Ray Serve's buckets of latencies, milliseconds. */
const rayLatencyMs = [
  1, 2, 5, 10, 20, 50, 100, 200, 300, 400, 500, 1000, 2000, 5000, 10_000, 60_000, 120_000, 300_000, 600_000,
];
/** From a step that costs nothing to one that takes minutes. */
const stepSeconds = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600,
];
const tokenSeconds = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5];

const phase = ["deployment", "mode"] as const;

function counter(name: string, help: string, labels: readonly string[]): MetricDefinition {
  return { name, kind: "counter", help, labels };
}

function gauge(name: string, help: string, labels: readonly string[]): MetricDefinition {
  return { name, kind: "gauge", help, labels };
}

function histogram(
  name: string,
  help: string,
  labels: readonly string[],
  buckets: readonly number[],
): MetricDefinition {
  return { name, kind: "histogram", help, labels, buckets };
}

/**
 * Every metric of an application. `ray_serve_...` are Ray Serve's own, under the names that Ray exports; `serve_llm_...`
 * are ours.
 */
export const metricDefinitions = {
  // HTTP, as Ray's proxy counts it.
  httpRequests: counter("ray_serve_num_http_requests_total", "HTTP requests answered.", [
    "route",
    "method",
    "status_code",
  ]),
  httpErrors: counter("ray_serve_num_http_error_requests_total", "HTTP requests answered with 4xx or 5xx.", [
    "route",
    "method",
    "error_code",
  ]),
  httpLatency: histogram(
    "ray_serve_http_request_latency_ms",
    "From an HTTP request to the end of its answer, milliseconds.",
    ["route", "method", "status_code"],
    rayLatencyMs,
  ),
  httpOngoing: gauge(
    "ray_serve_num_ongoing_http_requests",
    "Requests being answered, in-process calls included.",
    [],
  ),

  // Requests to models, where they are served.
  requests: counter("serve_llm_requests_total", "Requests to models that are over.", [
    "deployment",
    "method",
    "mode",
    "outcome",
    "error_code",
  ]),
  decodeOnly: counter("serve_llm_decode_only_total", "Requests served by decode alone, by reason.", [
    "deployment",
    "reason",
  ]),
  retries: counter("serve_llm_retries_total", "Further tries of requests, by the leg that failed and why.", [
    "deployment",
    "leg",
    "error_code",
  ]),
  legFailures: counter(
    "serve_llm_leg_failures_total",
    "Calls to engines that failed, other than by the client's fault.",
    ["deployment", "leg", "error_code"],
  ),
  promptTokens: counter(
    "serve_llm_prompt_tokens_total",
    "Tokens of prompts, where the engine's usage was seen.",
    ["deployment"],
  ),
  cachedTokens: counter(
    "serve_llm_cached_prompt_tokens_total",
    "Tokens of prompts that were in an engine's cache.",
    ["deployment"],
  ),
  completionTokens: counter(
    "serve_llm_completion_tokens_total",
    "Tokens of answers, where the engine's usage was seen.",
    ["deployment"],
  ),

  // The steps of a request.
  queue: histogram("serve_llm_queue_seconds", "Waiting for slots.", phase, stepSeconds),
  prefill: histogram("serve_llm_prefill_seconds", "From sending prefill to its answer.", phase, stepSeconds),
  handoff: histogram(
    "serve_llm_handoff_seconds",
    "From prefill's answer to sending decode.",
    phase,
    stepSeconds,
  ),
  decodeFirstToken: histogram(
    "serve_llm_decode_first_token_seconds",
    "From sending decode to its first token; streams only.",
    phase,
    stepSeconds,
  ),
  timeToFirstToken: histogram(
    "serve_llm_time_to_first_token_seconds",
    "From the request's arrival to the first token; streams only.",
    phase,
    stepSeconds,
  ),
  interToken: histogram(
    "serve_llm_inter_token_seconds",
    "Mean time between two tokens of an answer; whole streams only.",
    phase,
    tokenSeconds,
  ),
  total: histogram(
    "serve_llm_request_seconds",
    "From the request's arrival to the end of its answer.",
    [...phase, "outcome"],
    stepSeconds,
  ),

  // Calls to engines, as Ray's replicas count them.
  deploymentRequests: counter(
    "ray_serve_deployment_request_counter_total",
    "Calls to a replica that went well, or that it refused with good reason.",
    ["deployment", "replica"],
  ),
  deploymentErrors: counter("ray_serve_deployment_error_counter_total", "Calls to a replica that failed.", [
    "deployment",
    "replica",
    "exception_type",
  ]),
  deploymentLatency: histogram(
    "ray_serve_deployment_processing_latency_ms",
    "From sending a call to a replica to its end, milliseconds.",
    ["deployment"],
    rayLatencyMs,
  ),

  // State, read when somebody asks.
  applicationStatus: gauge(
    "ray_serve_application_status",
    "1 DEPLOY_FAILED, 2 UNHEALTHY, 3 NOT_STARTED, 4 DELETING, 5 DEPLOYING, 6 RUNNING.",
    [],
  ),
  deploymentStatus: gauge(
    "ray_serve_deployment_status",
    "0 unknown, 1 DEPLOY_FAILED, 2 UNHEALTHY, 3 UPDATING, 4 UPSCALING, 5 DOWNSCALING, 6 HEALTHY.",
    ["deployment"],
  ),
  queued: gauge("ray_serve_deployment_queued_queries", "Requests waiting for a slot.", ["deployment"]),
  ongoing: gauge("ray_serve_num_ongoing_requests_at_replicas", "Calls running on a deployment's replicas.", [
    "deployment",
  ]),
  replicaOngoing: gauge("ray_serve_replica_processing_queries", "Calls running on a replica.", [
    "deployment",
    "replica",
  ]),
  replicaHealthy: gauge("ray_serve_deployment_replica_healthy", "1 when a replica is healthy, else 0.", [
    "deployment",
    "replica",
  ]),
  targetReplicas: gauge("ray_serve_autoscaling_target_replicas", "Replicas that should run.", ["deployment"]),
  replicas: gauge("serve_llm_replicas", "Replicas by state.", ["deployment", "state"]),
  ejections: counter("serve_llm_ejections_total", "How often failures took a replica out of service.", [
    "deployment",
    "replica",
  ]),
  replicaHolds: gauge(
    "serve_llm_replica_kv_holds",
    "Requests whose KV is pinned on a replica until decode has it.",
    ["deployment", "replica"],
  ),
  engineRunning: gauge(
    "serve_llm_engine_running_requests",
    "Requests running in an engine, as it last said.",
    ["deployment", "replica"],
  ),
  engineWaiting: gauge(
    "serve_llm_engine_waiting_requests",
    "Requests waiting in an engine, as it last said.",
    ["deployment", "replica"],
  ),
  engineKvUsage: gauge(
    "serve_llm_engine_kv_cache_usage_ratio",
    "Part of an engine's KV cache in use, as it last said.",
    ["deployment", "replica"],
  ),
  holdsOpen: gauge("serve_llm_kv_holds", "KV holds that are open.", ["deployment"]),
  holdsEnded: counter("serve_llm_kv_holds_ended_total", "KV holds that are over, by how they ended.", [
    "deployment",
    "end",
  ]),
  handoffShare: gauge(
    "serve_llm_handoff_share_ratio",
    "Part of the last requests that should have been disaggregated and were.",
    ["deployment"],
  ),
  degraded: gauge("serve_llm_pd_degraded", "1 when disaggregation has mostly stopped working, else 0.", [
    "deployment",
  ]),
  engineMetricsUp: gauge(
    "serve_llm_engine_metrics_up",
    "1 when an engine's own metrics could be read, else 0.",
    ["deployment", "replica"],
  ),
} as const satisfies Readonly<Record<string, MetricDefinition>>;

/** Key of one metric. */
export type MetricKey = keyof typeof metricDefinitions;
