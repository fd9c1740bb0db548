import { readEnvironment } from "../config/environment.ts";
import type { LLMConfig } from "../config/llm-config.ts";
import { loraDisagreements } from "../config/lora-config.ts";
import { pdProxyDeploymentOptions } from "../config/server-options.ts";
import { createKvConnector } from "../kv-transfer/kv-connector-registry.ts";
import type { PDHealth } from "../observability/pd-health-report.ts";
import { disagreements, type EngineDisagreement } from "../replicas/engine-disagreements.ts";
import { PairPolicy } from "../routing/pair-policy.ts";
import type { ReplicaLease } from "../replicas/replica.ts";
import type { DeploymentContext, DeploymentStatusDetails } from "../serve/deployment-context.ts";
import type { DeploymentInit } from "../serve/deployment.ts";
import type { EnginePool } from "../serve/engine-pool.ts";
import { answerWithRetries } from "./answer-with-retries.ts";
import { answeringOptionsOf } from "./answering-options.ts";
import { Attempts } from "./attempts.ts";
import {
  decideBySemantics,
  decideForBoundDecode,
  disaggregate,
  type DisaggregationDecision,
} from "./disaggregation-decision.ts";
import { type DisaggregationContext, DisaggregationContexts } from "./disaggregation-context.ts";
import { decideByRule, defaultCharsPerToken, withKnownReason } from "./disaggregation-policy.ts";
import { concurrentHandoff } from "./concurrent-handoff.ts";
import type { HandoffContext, RequestProgress } from "./handoff-context.ts";
import { KvHolds } from "./kv-holds.ts";
import type { ForwardRequest } from "./forward-request.ts";
import type { LLMRequest } from "./llm-request.ts";
import type { LLMResponse } from "./llm-response.ts";
import type { LLMServer } from "./llm-server.ts";
import { limitTotalTime } from "./llm-server.ts";
import type { LLMServerProtocol } from "./llm-server-protocol.ts";
import { PDHealthMeter } from "./pd-health.ts";
import { peerDirectoryFor } from "./peer-directory.ts";
import {
  type PDProxyOptions,
  type ResolvedPDProxyOptions,
  resolvePDProxyOptions,
} from "./pd-proxy-options.ts";
import { Prewarm } from "./prewarm.ts";
import { checkSides } from "./pd-proxy-sides.ts";
import { RetryBudget } from "./retry-budget.ts";
import { decodeOnly, sequentialHandoff } from "./sequential-handoff.ts";
import { StrandedKv } from "./stranded-kv.ts";
import { TokenizeOnce } from "./tokenize-once.ts";
import { TraceRecorder } from "./trace-recorder.ts";

/** Arguments of {@link PDProxyServer}: its two pools and its options. */
export interface PDProxyServerArguments extends PDProxyOptions {
  readonly prefillServer: LLMServer;
  readonly decodeServer: LLMServer;
}

/**
 * Prompt to a prefill engine, KV handed over, tokens from a decode engine. Read this file first.
 *
 * An outside orchestrator with two pools, as Ray's `PDProxyServer` was up to 2.57, with the request rules of Ray
 * 2.58.0. A decode slot is taken before prefill starts, so that nothing has to wait between the two.
 */
export class PDProxyServer implements LLMServerProtocol {
  /** Deployments are named after their classes, also when a bundler has renamed them. */
  static readonly name: string = "PDProxyServer";

  readonly llmConfig: LLMConfig;
  protected readonly context: DeploymentContext;
  readonly #prefill: LLMServer;
  readonly #decode: LLMServer;
  readonly #options: ResolvedPDProxyOptions;
  readonly #holds: KvHolds;
  readonly #retryBudget: RetryBudget;
  readonly #contexts: DisaggregationContexts;
  readonly #handoff: HandoffContext;
  readonly #health: PDHealthMeter;
  readonly #prewarm: Prewarm | undefined;
  readonly #warned = new Set<string>();

  /** Options for `serve.deployment(PDProxyServer).options(...)`. Mirrors Ray's `PDProxyServer.get_deployment_options`. */
  static getDeploymentOptions(_prefillConfig: LLMConfig, _decodeConfig: LLMConfig): DeploymentInit {
    return pdProxyDeploymentOptions(readEnvironment().deploymentDefaults) as DeploymentInit;
  }

  constructor(args: PDProxyServerArguments, context: DeploymentContext) {
    const { prefillServer, decodeServer, ...options } = args;
    checkSides({ prefillServer, decodeServer }, context.name);
    this.context = context;
    this.#prefill = prefillServer;
    this.#decode = decodeServer;
    prefillServer.pool.role = "prefill";
    decodeServer.pool.role = "decode";
    // Clients see decode's limits, as in Ray.
    this.llmConfig = decodeServer.llmConfig;
    this.#options = resolvePDProxyOptions(options);
    this.#retryBudget = new RetryBudget(this.#options.retryBudget);
    this.#health = new PDHealthMeter(context.name, context.warn);
    this.#holds = new KvHolds(context.clock, this.#options.kvLeaseMs * this.#options.kvLeaseSafety);
    for (const { pool } of [prefillServer, decodeServer]) pool.onIdentified = () => this.#compareSides();
    // A conversation's beginning is cached where it was prefilled last. Without a session it is power of two, as ever.
    prefillServer.preferRouter("session-affinity");
    const { decide } = this.#options;
    this.#contexts = new DisaggregationContexts({
      prefill: prefillServer.pool,
      decode: decodeServer.pool,
      clock: context.clock,
      charsPerToken:
        decide === null || typeof decide === "function" ? defaultCharsPerToken : decide.charsPerToken,
    });
    const connector = createKvConnector(prefillServer.llmConfig.engineKwargs["kv_transfer_config"], {
      warn: context.warn,
    });
    this.#handoff = {
      prefill: prefillServer.pool.handle,
      prefillAdapters: prefillServer.adapters,
      decodeAdapters: decodeServer.adapters,
      prefillTimeoutMs: prefillServer.llmConfig.client.prefillTimeoutMs,
      answering: answeringOptionsOf(decodeServer.llmConfig),
      connector,
      peers: peerDirectoryFor(connector, prefillServer.llmConfig, decodeServer.llmConfig, context),
      pairs: new PairPolicy(this.#options.pairing, () => context.clock.now()),
      tokenizeOnce:
        decodeServer.llmConfig.pdTokenizeOnce && !connector.concurrentHandoff
          ? new TokenizeOnce(context.warn)
          : undefined,
      holds: this.#holds,
      stranded: new StrandedKv(this.#options.onStranded, decodeServer.pool.handle, context.clock),
      options: this.#options,
      clock: context.clock,
      random: context.random,
      health: this.#health,
    };
    const { loraConfig } = prefillServer.llmConfig;
    for (const each of loraDisagreements(loraConfig, this.llmConfig.loraConfig)) context.warn(each);
    if (this.llmConfig.prewarmPrefillDecode) this.#prewarm = this.#startPrewarm(prefillServer, decodeServer);
  }

  async shutdown(): Promise<void> {
    await Promise.all([this.#prewarm?.stop(), this.#handoff.stranded.idle()]);
  }

  chat(request: LLMRequest): Promise<LLMResponse> {
    return this.#generate(request);
  }

  completions(request: LLMRequest): Promise<LLMResponse> {
    return this.#generate(request);
  }

  /** Everything else is decode's alone. */
  forward(request: ForwardRequest): Promise<LLMResponse> {
    return this.#decode.forward(request);
  }

  /**
   * The request that is served instead of the one that came. Override it to add, change or refuse: see `editRequest`;
   * what it throws is the answer. Called once, before {@link decide} and before anything is sent.
   */
  protected prepare(request: LLMRequest): LLMRequest | Promise<LLMRequest> {
    return request;
  }

  /**
   * Whether a request is disaggregated, once its decode replica is known; by default what the option `decide` says.
   * Override it to decide by your own rules, on top of what the request's semantics demand. Called once a request.
   */
  protected decide(context: DisaggregationContext): DisaggregationDecision {
    const { decide } = this.#options;
    if (decide === null) return disaggregate;
    return typeof decide === "function" ? decide(context) : decideByRule(decide, context);
  }

  get enginePools(): readonly EnginePool[] {
    return [this.#prefill.pool, this.#decode.pool];
  }

  /** Those that both sides have. */
  adapterIds(): readonly string[] {
    const prefill = new Set(this.#prefill.adapterIds());
    return this.#decode.adapterIds().filter((id) => prefill.has(id));
  }

  checkHealth(): void {
    this.#decode.checkHealth();
  }

  /** Whether disaggregation is really happening. */
  pdHealth(): PDHealth {
    return this.#health.health();
  }

  status(): DeploymentStatusDetails {
    const sides = [this.#prefill.status(), this.#decode.status()];
    const healthy = sides.every(({ status }) => status !== "UNHEALTHY" && status !== "DEPLOY_FAILED");
    return {
      status: healthy ? "HEALTHY" : "UNHEALTHY",
      statusTrigger: healthy ? "CONFIG_UPDATE_COMPLETED" : "HEALTH_CHECK_FAILED",
      message: healthy ? "" : "One of its two pools has no healthy replica.",
      replicaStates: { RUNNING: 1 },
      queued: 0,
      replicas: [],
      details: {
        pdHealth: this.pdHealth(),
        kvHolds: this.#holds.counts,
        disagreements: this.#disagreements(),
      },
    };
  }

  #startPrewarm({ pool: prefill }: LLMServer, { pool: decode }: LLMServer): Prewarm | undefined {
    const { connector, peers } = this.#handoff;
    const { clock, random, warn } = this.context;
    if (connector.concurrentHandoff) {
      // Ray skips them, too.
      warn(`_prewarm_prefill_decode has no effect with ${connector.name}, whose two legs run at once.`);
      return undefined;
    }
    return new Prewarm({
      prefill,
      decode,
      config: this.llmConfig,
      connector,
      peers,
      clock,
      random,
      warn,
    });
  }

  /** Prefill and decode must be the same model on the same vLLM, or KV means something else on the other side. */
  #compareSides(): void {
    for (const { message } of this.#disagreements()) {
      if (this.#warned.has(message)) continue;
      this.#warned.add(message);
      this.context.warn(`Prefill and decode of "${this.context.name}" disagree: ${message}`);
    }
  }

  #disagreements(): readonly EngineDisagreement[] {
    return disagreements(this.#prefill.pool.replicas.replicas, this.#decode.pool.replicas.replicas);
  }

  async #generate(received: LLMRequest): Promise<LLMResponse> {
    const { clock, random } = this.context;
    const deadlineMs = limitTotalTime(received, this.llmConfig, this.context);
    const preparing = this.prepare(received);
    const request = preparing instanceof Promise ? await preparing : preparing;
    this.#health.request();
    this.#retryBudget.deposit();
    const bySemantics = decideBySemantics(request);
    const { connector, pairs } = this.#handoff;
    const bound = connector.decodeNeedsPrefill === true;
    const possible = bound ? decideForBoundDecode(bySemantics, connector.name) : bySemantics;
    const recorder = new TraceRecorder(request, this.context, "pd");
    const note = (decision: DisaggregationDecision): DisaggregationDecision => {
      if (decision.mode === "decode-only") {
        this.#health.decodeOnly(decision.reason);
        recorder.decodeOnly(decision.reason);
      }
      return decision;
    };
    // What the request's semantics rule out is known now; the rest when there is a decode replica.
    let decision = possible.mode === "pd" && !bound ? undefined : note(possible);
    const { maxRetries } = this.#options;
    const attempts = new Attempts({ maxRetries, budget: this.#retryBudget, random, clock, deadlineMs });
    const progress: RequestProgress = { attempts, recorder, tokenIds: "unused", failedPrefills: new Set() };
    return await answerWithRetries(
      request,
      {
        handle: this.#decode.pool.handle,
        adapters: this.#decode.adapters,
        attempts,
        recorder,
        narrow:
          decision?.mode === "decode-only"
            ? undefined
            : (decodes) => pairs.decodes(decodes, this.#prefill.pool.replicas.available),
        mayLeaveOut: (lease, error) => this.#mayLeaveOutIds(request, progress, lease, error),
      },
      (lease) => {
        decision ??= note(withKnownReason(this.decide(this.#contexts.of(request, lease.replica))));
        return decision.mode === "pd"
          ? (connector.concurrentHandoff ? concurrentHandoff : sequentialHandoff)(
              request,
              lease,
              progress,
              this.#handoff,
            )
          : decodeOnly(request, lease, recorder, this.#handoff);
      },
    );
  }

  #mayLeaveOutIds(
    request: LLMRequest,
    progress: RequestProgress,
    { replica }: ReplicaLease,
    error: unknown,
  ): boolean {
    if (progress.tokenIds !== "passed") return false;
    if (this.#handoff.tokenizeOnce?.mayRefuseIds(replica, request.method, error) !== true) return false;
    progress.tokenIds = "doubted";
    return true;
  }
}
