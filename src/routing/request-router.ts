/** What a router may know of one replica. A snapshot: read it, do not keep it. */
export interface ReplicaView {
  /** Unique within its deployment, stable while the endpoint stays. */
  readonly id: string;
  /** Requests this process has on it now. */
  readonly inFlight: number;
  /** The most it may have: `maxOngoingRequests`. */
  readonly maxOngoingRequests: number;
  /** Load the engine reported about itself; undefined until it was scraped. */
  readonly engineLoad?: EngineLoad | undefined;
  /** LoRA ids loaded on it (Ray's multiplexed model ids). */
  readonly multiplexedModelIds: ReadonlySet<string>;
  /** Data-parallel rank, when the endpoint is one rank. */
  readonly rank?: number | undefined;
  /** Prefill and decode of different groups are never paired. */
  readonly pairGroup?: string | undefined;
  /** vLLM's version, once the engine was asked. */
  readonly version?: string | undefined;
  /** Free labels for topology, from the endpoint. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Gauges of vLLM's `/metrics` that matter to a router. */
export interface EngineLoad {
  /** `vllm:num_requests_running`, all ranks. */
  readonly running: number;
  /** `vllm:num_requests_waiting`, all ranks. */
  readonly waiting: number;
  /** `vllm:kv_cache_usage_perc`, 0 to 1. */
  readonly kvCacheUsage: number;
  /** {@link Clock.now} when it was read. */
  readonly atMs: number;
  /** How many of its requests are other processes', smoothed: see {@link smoothedOthers}. @default all of them */
  readonly others?: number | undefined;
}

/** The request a replica is sought for. */
export interface PendingRequest {
  readonly requestId: string;
  readonly modelId: string;
  /** LoRA id when the request names an adapter. */
  readonly multiplexedModelId?: string | undefined;
  /** Sticky session key, from `x-session-id`. */
  readonly sessionId?: string | undefined;
  /** The prompt as text, read on demand; undefined when it has none (token ids, multimodal only). */
  promptText?(): string | undefined;
  /** How often this request was tried before. */
  readonly attempt: number;
  /** Ids of replicas that already failed this request; the caller drops them from the candidates. */
  readonly triedReplicaIds?: ReadonlySet<string> | undefined;
}

/**
 * Chooses replicas. Synchronous, and pure but for its own bookkeeping: the same candidates and random numbers
 * give the same answer. Mirrors Ray's `RequestRouter`.
 */
export interface RequestRouter {
  /** True when it reads {@link ReplicaView.engineLoad}: only then are engines asked for it. @default false */
  readonly usesEngineLoad?: boolean;
  /**
   * Ranks of candidates, most preferred first. The caller takes the first with a free slot, rank by rank. An
   * empty answer means "nobody suitable now": the request waits.
   *
   * @param candidates healthy replicas, never empty
   */
  chooseReplicas(
    candidates: readonly ReplicaView[],
    request: PendingRequest,
  ): readonly (readonly ReplicaView[])[];
  /**
   * What counted for or against a candidate of the choice just made, by names of the router's own: for the trace of the
   * request, asked for a few of the candidates. @default nothing is told
   */
  scores?(candidate: ReplicaView, request: PendingRequest): Readonly<Record<string, number>>;
  /** The set of replicas changed. Build trees and rings here, not per request. */
  updateReplicas?(replicas: readonly ReplicaView[]): void;
  /** What these replicas had in their prefix caches is gone: their engines were told to forget it, or restarted. */
  onCachesLost?(replicaIds: ReadonlySet<string>): void;
  onRequestRouted?(request: PendingRequest, replicaId: string): void;
  onRequestCompleted?(request: PendingRequest, replicaId: string): void;
}

/** What a router is made from. */
export interface RequestRouterContext {
  /** A number in [0, 1). */
  random(): number;
  /** Milliseconds, monotonic. */
  now(): number;
  /** `requestRouterConfig.requestRouterKwargs`, keys as Ray spells them. */
  readonly kwargs: Readonly<Record<string, unknown>>;
}

export type RequestRouterFactory = (context: RequestRouterContext) => RequestRouter;
