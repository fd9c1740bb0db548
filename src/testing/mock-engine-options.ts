import { systemClock, type Clock } from "../internal/clock.ts";
import type { FaultPlan } from "./fault-plan.ts";
import type { HandleFormat } from "./kv-params.ts";
import type { MockKvConnector } from "./mock-connectors.ts";
import type { MockKvStore } from "./mock-kv-store.ts";

/** How long a mock engine takes. All milliseconds of its clock, all 0 by default. */
export interface MockLatency {
  /** For each prompt token that has to be computed. */
  readonly prefillMsPerToken?: number | undefined;
  /** Before the first token, on top of prefill. */
  readonly timeToFirstTokenMs?: number | undefined;
  /** Between two tokens. */
  readonly interTokenMs?: number | undefined;
  /** To fetch KV from another engine. */
  readonly kvTransferMs?: number | undefined;
  /** Part of each delay that is random, 0 to 1: 0.2 makes it from 80 to 120 percent. */
  readonly jitter?: number | undefined;
}

/** Options of {@link MockVLLMEngine}; everything has a default. */
export interface MockVLLMEngineOptions {
  /** Name it serves. @default "mock-model" */
  readonly model?: string | undefined;
  /** A label for people; as in vLLM, what a request asks for decides what the engine does. @default "both" */
  readonly role?: "prefill" | "decode" | "both" | undefined;
  /** @default "127.0.0.1" */
  readonly host?: string | undefined;
  /** @default 0: any free port */
  readonly port?: number | undefined;
  /** When set, `/v1` wants it as bearer token (vLLM's `--api-key`). */
  readonly apiKey?: string | undefined;
  /** vLLM's version. @default "0.27.1" */
  readonly version?: string | undefined;
  /** Tokens of prompt and answer together. @default 4096 */
  readonly maxModelLen?: number | undefined;
  /** Tokens in a KV block. @default 16 */
  readonly blockSize?: number | undefined;
  /** KV blocks. Requests that find none free wait. @default 4096 */
  readonly numBlocks?: number | undefined;
  /** Requests that run at a time; the others wait. @default 1024 */
  readonly maxNumSeqs?: number | undefined;
  /** How long KV stays pinned for decode, milliseconds. @default 30000 */
  readonly kvLeaseMs?: number | undefined;
  /** Makes ids, jitter and faults repeat. Left out: random. */
  readonly seed?: number | undefined;
  readonly latency?: MockLatency | undefined;
  /**
   * What decode does when it can't fetch the KV it was promised: `fail` as vLLM does by default (500, or an error
   * in the stream), `swallow` the error (a stream without tokens), `garbage` (200 with the wrong text), or
   * `recompute` the prompt. @default "fail"
   */
  readonly onBadHandle?: "fail" | "swallow" | "garbage" | "recompute" | undefined;
  /**
   * `MooncakeConnector`: both legs run at once and meet by `transfer_id`, see {@link MockVLLMEngine.bootstrapUrl}.
   * `MoRIIOConnector`, `P2pNcclConnector`: engines find each other by the request id, see
   * {@link MockVLLMEngine.kvAddress}. Stores: see {@link kvStore}.
   * `null`: no connector, so that handles are neither given nor taken. @default "NixlConnector"
   */
  readonly kvConnector?: MockKvConnector | undefined;
  /** MoRIIO's `read_mode`: decode reads KV by a handle, instead of prefill writing it. @default false */
  readonly moriioReadMode?: boolean | undefined;
  /** KV that engines share, by prompt: for connectors to a store. @default none */
  readonly kvStore?: MockKvStore | undefined;
  /** Port of the bootstrap server, with Mooncake. @default 0: any free port (vLLM: 8998) */
  readonly bootstrapPort?: number | undefined;
  /** Fixed engine id; a restart appends a number. @default random, new at each start */
  readonly engineId?: string | undefined;
  /** Tensor parallel size that handles name. @default 1 */
  readonly tensorParallelSize?: number | undefined;
  /**
   * Data-parallel ranks behind this endpoint, each an engine of its own with its own KV: `X-data-parallel-rank`
   * chooses one, without it the least loaded does. Not with MoRIIO and P2pNccl: give each rank an engine there.
   *
   * @default 1
   */
  readonly dataParallelSize?: number | undefined;
  /**
   * Rank in its group of the first one here (vLLM's `--data-parallel-start-rank`, `--data-parallel-rank`). Ranks show
   * in engine ids (`<id>_dp<rank>`) and metrics.
   *
   * @default 0; left out with one rank, the engine belongs to no group
   */
  readonly dataParallelStartRank?: number | undefined;
  readonly handleFormat?: HandleFormat | undefined;
  /**
   * `return_token_ids`, and prompts that come as ids: `reused` as vLLM does since 0.27; `ignored` as older ones do, for
   * which they are fields like any other; `refused` by a server that forbids fields it does not know.
   * @default "reused"
   */
  readonly tokenIds?: "reused" | "ignored" | "refused" | undefined;
  /** Puts a 64-bit integer beyond 2^53 into each handle, and wants it back digit for digit. @default false */
  readonly bigIntHandles?: boolean | undefined;
  /**
   * Prefill of a prompt that contains this text ends at its first token: finish reason `stop`.
   * `firstTokenStopHandle` says whether it then still hands over KV.
   */
  readonly firstTokenStop?: string | undefined;
  /** @default "null" */
  readonly firstTokenStopHandle?: "null" | "kept" | undefined;
  /** Most tokens of requests that do not say. @default as vLLM: chat the rest of the context, completions 16 */
  readonly defaultMaxTokens?: number | undefined;
  /** Tokens in each frame of a stream (vLLM's `--stream-interval`). @default 1 */
  readonly tokensPerFrame?: number | undefined;
  /** LoRA adapters loaded from the start: name to path. */
  readonly adapters?: Readonly<Record<string, string>> | undefined;
  /** Paths at which there are adapters to load. @default everywhere */
  readonly adapterPaths?: readonly string[] | undefined;
  /** Refuses a request whose `X-Request-Id` is already running here. @default true */
  readonly rejectDuplicateRequestIds?: boolean | undefined;
  /** Echoes `X-Request-Id` (vLLM's `--enable-request-id-headers`). @default false */
  readonly requestIdHeaders?: boolean | undefined;
  /** Does not compute the same start of a prompt twice (vLLM's `--enable-prefix-caching`). @default false */
  readonly prefixCaching?: boolean | undefined;
  /** Reports cached prompt tokens (vLLM's `--enable-prompt-tokens-details`). @default false */
  readonly promptTokensDetails?: boolean | undefined;
  /** After the engine died the server stays up and answers 500, `/health` 503. @default false: it exits */
  readonly keepAliveOnEngineDeath?: boolean | undefined;
  /** Idle connections are closed after this long, milliseconds of real time. @default 5000 */
  readonly keepAliveTimeoutMs?: number | undefined;
  /** Refuses connections this long after each start, as while a model loads. @default 0 */
  readonly readyDelayMs?: number | undefined;
  /** What goes wrong; see {@link FaultRule}. */
  readonly faults?: FaultPlan | undefined;
  /** Requests the journal keeps at least. @default 10000 */
  readonly journalLimit?: number | undefined;
  /** @default the system's clock */
  readonly clock?: Clock | undefined;
}

type Defined<Options> = { readonly [Key in keyof Options]-?: Exclude<Options[Key], undefined> };
type WithoutDefault =
  | "apiKey"
  | "seed"
  | "kvStore"
  | "adapterPaths"
  | "engineId"
  | "dataParallelStartRank"
  | "firstTokenStop"
  | "defaultMaxTokens";

/** Options with every default filled in. */
export type ResolvedMockOptions = Defined<Omit<MockVLLMEngineOptions, WithoutDefault | "latency">> &
  Pick<MockVLLMEngineOptions, WithoutDefault> & { readonly latency: Defined<MockLatency> };

/**
 * Fills in defaults.
 *
 * @throws RangeError when a number is out of range
 */
export function resolveMockOptions(options: MockVLLMEngineOptions): ResolvedMockOptions {
  const latency = options.latency ?? {};
  const resolved: ResolvedMockOptions = {
    model: options.model ?? "mock-model",
    role: options.role ?? "both",
    host: options.host ?? "127.0.0.1",
    port: options.port ?? 0,
    apiKey: options.apiKey,
    version: options.version ?? "0.27.1",
    maxModelLen: options.maxModelLen ?? 4096,
    blockSize: options.blockSize ?? 16,
    numBlocks: options.numBlocks ?? 4096,
    maxNumSeqs: options.maxNumSeqs ?? 1024,
    kvLeaseMs: options.kvLeaseMs ?? 30_000,
    seed: options.seed,
    latency: {
      prefillMsPerToken: latency.prefillMsPerToken ?? 0,
      timeToFirstTokenMs: latency.timeToFirstTokenMs ?? 0,
      interTokenMs: latency.interTokenMs ?? 0,
      kvTransferMs: latency.kvTransferMs ?? 0,
      jitter: latency.jitter ?? 0,
    },
    onBadHandle: options.onBadHandle ?? "fail",
    kvConnector: options.kvConnector === undefined ? "NixlConnector" : options.kvConnector,
    moriioReadMode: options.moriioReadMode ?? false,
    kvStore: options.kvStore,
    bootstrapPort: options.bootstrapPort ?? 0,
    engineId: options.engineId,
    tensorParallelSize: options.tensorParallelSize ?? 1,
    dataParallelSize: options.dataParallelSize ?? 1,
    dataParallelStartRank: options.dataParallelStartRank,
    handleFormat: options.handleFormat ?? {},
    tokenIds: options.tokenIds ?? "reused",
    bigIntHandles: options.bigIntHandles ?? false,
    firstTokenStop: options.firstTokenStop,
    firstTokenStopHandle: options.firstTokenStopHandle ?? "null",
    defaultMaxTokens: options.defaultMaxTokens,
    tokensPerFrame: options.tokensPerFrame ?? 1,
    adapters: options.adapters ?? {},
    adapterPaths: options.adapterPaths,
    rejectDuplicateRequestIds: options.rejectDuplicateRequestIds ?? true,
    requestIdHeaders: options.requestIdHeaders ?? false,
    prefixCaching: options.prefixCaching ?? false,
    promptTokensDetails: options.promptTokensDetails ?? false,
    keepAliveOnEngineDeath: options.keepAliveOnEngineDeath ?? false,
    keepAliveTimeoutMs: options.keepAliveTimeoutMs ?? 5000,
    readyDelayMs: options.readyDelayMs ?? 0,
    faults: options.faults ?? [],
    journalLimit: options.journalLimit ?? 10_000,
    clock: options.clock ?? systemClock,
  };
  const atLeast = (name: string, value: number, least: number): void => {
    if (!(value >= least)) {
      throw new RangeError(`MockVLLMEngine: ${name} must be a number of ${least} or more, got ${value}`);
    }
  };
  for (const name of [
    "maxModelLen",
    "blockSize",
    "numBlocks",
    "maxNumSeqs",
    "dataParallelSize",
    "tokensPerFrame",
    "journalLimit",
  ] as const) {
    atLeast(name, resolved[name], 1);
  }
  atLeast("kvLeaseMs", resolved.kvLeaseMs, 0);
  atLeast("readyDelayMs", resolved.readyDelayMs, 0);
  for (const [name, value] of Object.entries(resolved.latency)) atLeast(`latency.${name}`, value, 0);
  const addressed = resolved.kvConnector === "MoRIIOConnector" || resolved.kvConnector === "P2pNcclConnector";
  if (addressed && resolved.dataParallelSize > 1)
    throw new RangeError(`MockVLLMEngine: ${resolved.kvConnector} has one rank at an endpoint`);
  if (resolved.latency.jitter > 1) throw new RangeError("MockVLLMEngine: latency.jitter must be from 0 to 1");
  return resolved;
}
