import type { Clock } from "../internal/clock.ts";
import { systemRandom, type Random } from "../internal/random.ts";
import type { EngineRefusal } from "./engine-refusal.ts";
import { EngineMetrics } from "./engine-metrics-text.ts";
import { EngineScheduler } from "./engine-scheduler.ts";
import { FaultSchedule } from "./fault-plan.ts";
import { KvLedger } from "./kv-ledger.ts";
import { largestLeaseToken, type HandleIssuer, type KvParams } from "./kv-params.ts";
import type { ResolvedMockOptions } from "./mock-engine-options.ts";
import { RequestJournal } from "./request-journal.ts";
import { seededRandom } from "./seeded-random.ts";
import { PrefixCache } from "./prefix-cache.ts";
import { KvFetcher } from "./kv-fetcher.ts";
import { connectorRules, type ConnectorRules } from "./mock-connectors.ts";

/** A request that is generating, as far as the engine has to reach it. */
export interface RunningGeneration {
  /** Ends it with an error answer. */
  fail(error: EngineRefusal): void;
  /** Ends it early with finish reason `abort`, as `/sleep` does. */
  finishEarly(): void;
  /** The client left. */
  abort(): void;
}

/**
 * The state of one mock engine, which its routes and its requests share. With data parallelism one for each rank
 * behind the endpoint; those of one endpoint share the journal, the faults and the adapters.
 */
export class EngineCore {
  /** Rank behind its endpoint, as `X-data-parallel-rank` names it. */
  readonly localRank: number;
  /** All ranks behind its endpoint, itself among them. */
  readonly ranks: EngineCore[];
  readonly options: ResolvedMockOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly ledger: KvLedger;
  readonly scheduler: EngineScheduler;
  readonly connector: ConnectorRules;
  readonly metrics = new EngineMetrics();
  readonly journal: RequestJournal;
  readonly faults: FaultSchedule;
  readonly adapters: Map<string, string>;
  readonly generations = new Set<RunningGeneration>();
  /** Values of `X-Request-Id` that are running. */
  readonly requestIds = new Set<string>();
  readonly systemFingerprint: string;
  /** Undefined: it has none. */
  readonly prefixCache: PrefixCache | undefined;
  /** Requests that wait for KV of another engine. */
  deferred = 0;
  dead = false;
  sleeping = false;
  /** By `/pause`. */
  paused = false;
  engineId = "";
  sideChannelPort = 0;
  kvFetcher: KvFetcher;
  /** Ends the engine the way a failed assertion in EngineCore does; set by the owner. */
  onDeath: () => void = () => {};
  /** Kills the process, as it were; set by the owner. */
  onCrash: () => void = () => {};
  #leaseToken = largestLeaseToken;

  /** @param first rank 0 of the endpoint; left out for rank 0 itself */
  constructor(options: ResolvedMockOptions, first?: EngineCore) {
    this.options = options;
    this.clock = options.clock;
    this.ranks = first?.ranks ?? [];
    this.localRank = this.ranks.push(this) - 1;
    this.random = first?.random ?? (options.seed === undefined ? systemRandom : seededRandom(options.seed));
    this.ledger = new KvLedger(options.clock, options.numBlocks, options.kvLeaseMs);
    this.scheduler = new EngineScheduler(this.ledger, options.maxNumSeqs);
    this.connector = connectorRules(options.kvConnector, options.moriioReadMode);
    if (options.prefixCaching) this.prefixCache = new PrefixCache(options.blockSize, options.numBlocks);
    this.kvFetcher = this.newKvFetcher();
    this.journal = first?.journal ?? new RequestJournal(options.journalLimit);
    this.faults = first?.faults ?? new FaultSchedule(this.random, options.faults);
    this.adapters = first?.adapters ?? new Map(Object.entries(options.adapters));
    this.systemFingerprint =
      first?.systemFingerprint ?? `vllm-${options.version}-${this.random.id().slice(0, 8)}`;
  }

  /** Puts another rank beside those of the endpoint. */
  addRank(): EngineCore {
    return new EngineCore(this.options, this.ranks[0]);
  }

  /** Rank in its data-parallel group. */
  get rank(): number {
    return (this.options.dataParallelStartRank ?? 0) + this.localRank;
  }

  /** Requests it runs and requests that wait. */
  get load(): { readonly running: number; readonly waiting: number } {
    return { running: this.scheduler.running, waiting: this.scheduler.waiting };
  }

  newKvFetcher(): KvFetcher {
    const { clock, kvLeaseMs } = this.options;
    return new KvFetcher(this.connector, clock, kvLeaseMs);
  }

  /** Its address in the request ids of connectors that find each other by them. */
  get kvAddress(): string {
    const { host, kvConnector } = this.options;
    const port = this.sideChannelPort;
    return kvConnector === "MoRIIOConnector"
      ? `host:${host},handshake:${port},notify:${port}`
      : `${host}:${port}`;
  }

  get issuer(): HandleIssuer {
    const { host, handleFormat } = this.options;
    return { engineId: this.engineId, host, port: this.sideChannelPort, format: handleFormat };
  }

  /** A 64-bit integer for a handle, or undefined when handles have none. */
  nextLeaseToken(): string | undefined {
    if (!this.options.bigIntHandles) return undefined;
    return String(this.#leaseToken--);
  }

  /** Only the adapters it is started with are left. */
  forgetAdapters(): void {
    this.adapters.clear();
    for (const [name, path] of Object.entries(this.options.adapters)) this.adapters.set(name, path);
  }

  /** A delay with the engine's jitter, milliseconds. */
  jittered(delayMs: number): number {
    const { jitter } = this.options.latency;
    return jitter === 0 || delayMs === 0 ? delayMs : delayMs * (1 + jitter * (this.random.next() * 2 - 1));
  }

  /** True when these parameters make this engine fetch KV. */
  fetchesKv(kv: KvParams | undefined): kv is KvParams {
    return kv?.doRemotePrefill === true && !kv.doRemoteDecode && this.#movesKv;
  }

  /** True when the handle names everything needed to fetch its KV. */
  isComplete(kv: KvParams): boolean {
    const { omitRequestId } = this.options.handleFormat;
    return this.connector.isComplete(omitRequestId === true ? { ...kv, requestId: "" } : kv);
  }

  /** True when engines with its connector fetch KV from one another. */
  get #movesKv(): boolean {
    return this.connector.locate !== connectorRules(null, false).locate;
  }

  /**
   * A request that carried a handle will not run: tells the issuer, so that its blocks are freed at once. A handle
   * that is not complete kills the engine here, as it does in vLLM.
   */
  releaseHandle(kv: KvParams | undefined): void {
    if (!this.fetchesKv(kv)) return;
    if (!this.isComplete(kv) || (this.connector.namesBlocks && !kv.hasBlockIds)) this.onDeath();
    else this.kvFetcher.release(kv);
  }
}
