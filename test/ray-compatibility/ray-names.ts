/** One public name of Ray, and what it is here. */
export interface RayName {
  readonly name: string;
  /** Names that `serve-llm` exports for it; none when there is nothing to export. */
  readonly here: readonly string[];
  /** What differs, and why. */
  readonly differs: string;
}

/** One method of Ray's server, and what it is of {@link rayServerMethods} here. */
export interface RayServerMethod {
  /** The method of `app.handle` and `serve.getDeploymentHandle`; undefined when there is none. */
  readonly here: string | undefined;
  readonly differs: string;
}

const everyEngine = "To every engine of the model, or of the `deployments` named; says what each answered.";

const wireType = "A type: bodies are read by rules, not by classes, and pass on what they do not know.";

const forwardedType =
  "A type, for `app.handle`. The request goes to decode as it came, and so does its answer.";

/** Ray 2.58.0's public modules, name by name (their `__all__`). */
export const rayModules: Readonly<Record<string, readonly RayName[]>> = {
  "ray.serve.llm": [
    {
      name: "LLMConfig",
      here: ["LLMConfig"],
      differs:
        "Also takes `endpoints`, `scalingTarget` and `client`. Checked whole when it is made, and never changed by a builder.",
    },
    {
      name: "LLMServingArgs",
      here: ["LLMServingArgsInit"],
      differs: "A plain object; the builder reads it.",
    },
    {
      name: "ModelLoadingConfig",
      here: ["ModelLoadingConfig"],
      differs: "A plain object. `modelId` must not be empty.",
    },
    {
      name: "CloudMirrorConfig",
      here: [],
      differs:
        "A plain object, `modelLoadingConfig.modelSource`. Kept for export: engines load their own weights.",
    },
    {
      name: "LoraConfig",
      here: ["LoraConfigInit"],
      differs:
        "A plain object. Adapters are requested by `model:adapter` and loaded on both sides of prefill/decode, which Ray 2.58.0 cannot do.",
    },
    {
      name: "build_llm_deployment",
      here: ["buildLlmDeployment"],
      differs:
        "Keyword arguments are one object. An empty `namePrefix` is no prefix; in Ray it counts as not given. Called by `serve.getDeploymentHandle`, as Ray's by a Serve handle.",
    },
    {
      name: "build_openai_app",
      here: ["buildOpenaiApp"],
      differs: "Two models with one deployment name are refused.",
    },
    {
      name: "build_pd_openai_app",
      here: ["buildPdOpenaiApp"],
      differs:
        "An outside proxy drives both pools, so `proxy_cls_config` and `proxy_deployment_config` have their effect. Stricter between the sides: one model source, one connector.",
    },
    {
      name: "build_dp_deployment",
      here: ["buildDpDeployment"],
      differs:
        "`num_replicas` is the number of ranks, so it must be `data_parallel_size`; autoscaling is refused.",
    },
    {
      name: "build_dp_openai_app",
      here: ["buildDpOpenaiApp"],
      differs: "As `build_dp_deployment`. Takes a fixed number of ingress replicas, which Ray's fails on.",
    },
    { name: "LLMServer", here: ["LLMServer"], differs: "Ray's deprecated alias of the class below." },
    {
      name: "LLMRouter",
      here: ["OpenAiIngress"],
      differs: "Ray's deprecated alias of `OpenAiIngress`; only the new name is here.",
    },
  ],
  "ray.serve.llm.deployment": [
    {
      name: "LLMServer",
      here: ["LLMServer"],
      differs: "A pool of engines that run elsewhere, not an engine.",
    },
    {
      name: "PDDecodeServer",
      here: ["LLMServer", "PDProxyServer"],
      differs:
        "No class: Ray's decode replica owns an engine and orchestrates. Here the pool is an `LLMServer`, and `PDProxyServer` orchestrates.",
    },
    {
      name: "PDPrefillServer",
      here: ["LLMServer"],
      differs: "No class: its pool is an `LLMServer`. Ray's path of it is understood as `server_cls`.",
    },
    {
      name: "PDProxyServer",
      here: ["PDProxyServer"],
      differs:
        "Deprecated in Ray, the heart of this library. Topology as up to Ray 2.57, requests as in 2.58.0.",
    },
    {
      name: "DPServer",
      here: ["DPServer"],
      differs: "With one rank it is a plain pool; Ray's fails to start.",
    },
  ],
  "ray.serve.llm.ingress": [
    {
      name: "OpenAiIngress",
      here: ["OpenAiIngress"],
      differs: "One error shape on every route. No FastAPI: a route is a method and an entry of `routes`.",
    },
    {
      name: "make_fastapi_ingress",
      here: ["makeIngress"],
      differs:
        "`endpoint_map` is `routes`. There is no `app` to pass: mount `app.handler` or `app.fetch` on your own server.",
    },
  ],
  "ray.serve.llm.request_router": [
    {
      name: "PrefixCacheAffinityRouter",
      here: [],
      differs:
        "A name for `requestRouterClass`: Ray's path, or `prefix-cache-affinity`. Same tree, same thresholds.",
    },
    {
      name: "KVAwareRouter",
      here: [],
      differs:
        "Not here: it needs the KV events of every engine. `prefix-cache-affinity` and `kv-pressure` come nearest.",
    },
  ],
  "ray.serve.llm.openai_api_models": [
    { name: "ChatCompletionRequest", here: ["ChatCompletionRequest"], differs: wireType },
    { name: "ChatCompletionResponse", here: ["ChatCompletion"], differs: `${wireType} OpenAI's own name.` },
    {
      name: "ChatCompletionStreamResponse",
      here: ["ChatCompletionChunk"],
      differs: `${wireType} OpenAI's own name.`,
    },
    { name: "CompletionRequest", here: ["CompletionRequest"], differs: wireType },
    { name: "CompletionResponse", here: ["Completion"], differs: `${wireType} OpenAI's own name.` },
    {
      name: "CompletionStreamResponse",
      here: ["CompletionChunk"],
      differs: `${wireType} OpenAI's own name.`,
    },
    { name: "EmbeddingRequest", here: ["EmbeddingRequest"], differs: forwardedType },
    { name: "EmbeddingResponse", here: ["EmbeddingResponse"], differs: forwardedType },
    {
      name: "TranscriptionRequest",
      here: ["AudioRequest"],
      differs: `${forwardedType} Also for translations.`,
    },
    { name: "TranscriptionResponse", here: ["AudioTranscription"], differs: forwardedType },
    { name: "TranscriptionStreamResponse", here: ["AudioTranscriptionChunk"], differs: forwardedType },
    {
      name: "ErrorResponse",
      here: ["OpenAIErrorBody"],
      differs: "OpenAI's nested shape, from every route; Ray has three shapes.",
    },
  ],
};

/** Every field of Ray's `LLMConfig`. */
export const rayConfigFields: Readonly<Record<string, string>> = {
  runtime_env:
    "Kept for export; its variables go into `toVllmCommand`. `VLLM_NIXL_SIDE_CHANNEL_PORT` is refused with prefill/decode.",
  model_loading_config:
    "The same. Prefill and decode must also agree on `model_source`; Ray compares the id only.",
  llm_engine: "Only `vLLM`, as in Ray 2.58.0.",
  engine_kwargs:
    "Never renamed. Unknown arguments are refused when the config is made; Ray does so when the engine starts.",
  accelerator_type: "The same values, `A10` read as `A10G`. Kept for export.",
  accelerator_config: "The same resolution. Kept for export.",
  placement_group_config:
    "Validated as in Ray. Kept for export; bundles also size the pods of `toRayService`.",
  lora_config: "The same. Other paths or other limits on the two sides are noted.",
  deployment_config:
    "The same options. An `autoscaling_config` without a target has Serve's 2; Ray's LLM default of 1e9 is never reached, so it never scales.",
  server_cls: "A class, or Ray's path of one; honoured by every builder. Ray's P/D builder ignores it.",
  experimental_configs:
    "Known keys in either spelling; unknown ones are kept, and noted with the nearest name.",
  log_engine_metrics: "Whether `app.metrics()` shows the engines' own metrics.",
  callback_config: "Kept for export: its hooks run where an engine starts.",
};

/** Every key that Ray 2.58.0 or its documents know in `experimental_configs`. */
export const rayExperimentalKeys: Readonly<Record<string, string>> = {
  stream_batching_interval_ms: "The same. Without it tokens are relayed one by one; Ray gathers for 50 ms.",
  num_ingress_replicas:
    "No effect, noted: the ingress is in the process that serves HTTP. Ray reads it nowhere either.",
  dp_size_per_node:
    "Read: which ranks share a node, for endpoints and for GPUs in `toVllmCommand`. Ray documents it and reads it nowhere.",
  pd_tokenize_once:
    "Also `pdTokenizeOnce`. Sequential handoffs, as in Ray; sent over HTTP, and left out for engines that lack or refuse it.",
  _prewarm_prefill_decode:
    "Also `prewarmPrefillDecode`. Growing pools and restarted engines are warmed, too; a failure warns instead of failing the start.",
  NIXL_SIDE_CHANNEL_PORT_BASE: "20000, decode 22000: for `toVllmCommand` and `setupKvTransfer`.",
  MORI_HANDSHAKE_PORT_BASE: "6301, decode 7301.",
  MORI_NOTIFY_PORT_BASE: "61005, decode 62005.",
  KV_EVENTS_PORT_BASE: "Kept: only Ray's KV-aware router reads it.",
  KV_TOKEN_PORT_BASE: "Kept: only Ray's KV-aware router reads it.",
  KV_INDEXER_THREADS: "Kept: only Ray's KV-aware router reads it.",
};

/** What a Serve handle of Ray's `LLMServer` can be asked (`handle.chat.remote(...)`), by its method. */
export const rayServerMethods: Readonly<Record<string, RayServerMethod>> = {
  chat: {
    here: "chat",
    differs: "An answer or, with `stream: true`, an async iterable of chunks; errors are thrown.",
  },
  completions: { here: "completions", differs: "As `chat`." },
  embeddings: { here: "embeddings", differs: "One object instead of a generator of one." },
  transcriptions: { here: "transcriptions", differs: "As `chat`. Also `translations`." },
  score: { here: "score", differs: "As `embeddings`. Also `rerank`." },
  tokenize: { here: "tokenize", differs: "As `embeddings`." },
  detokenize: { here: "detokenize", differs: "As `embeddings`." },
  sleep: { here: 'commandEngines("sleep")', differs: everyEngine },
  wakeup: { here: 'commandEngines("wakeUp")', differs: everyEngine },
  is_sleeping: { here: 'commandEngines("isSleeping")', differs: everyEngine },
  pause: { here: 'commandEngines("pause")', differs: everyEngine },
  resume: { here: 'commandEngines("resume")', differs: everyEngine },
  is_paused: { here: 'commandEngines("isPaused")', differs: everyEngine },
  reset_prefix_cache: { here: 'commandEngines("resetPrefixCache")', differs: everyEngine },
  start_profile: { here: 'commandEngines("startProfile")', differs: everyEngine },
  stop_profile: { here: 'commandEngines("stopProfile")', differs: everyEngine },
  collective_rpc: { here: undefined, differs: "Not here: it runs any method of a worker." },
  check_health: { here: undefined, differs: "`GET /health`, and `app.status()` for each replica." },
  record_routing_stats: {
    here: undefined,
    differs: "Not here: routers that want load read the engines' `/metrics`.",
  },
  llm_config: {
    here: "modelData",
    differs: "The model card only; the configuration is the caller's own object.",
  },
};
