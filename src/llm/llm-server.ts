import type { LLMConfig } from "../config/llm-config.ts";
import { serverDeploymentOptions } from "../config/server-options.ts";
import { DeploymentUnavailableError } from "../errors/deployment-unavailable-error.ts";
import { EngineTimeoutError } from "../errors/engine-timeout-error.ts";
import type { EngineMetricsPage } from "../protocol/merge-metrics.ts";
import { EngineMetricsReader } from "../replicas/engine-metrics-reader.ts";
import type { ReplicaLease } from "../replicas/replica.ts";
import type { DeploymentContext, DeploymentStatusDetails } from "../serve/deployment-context.ts";
import type { DeploymentInit } from "../serve/deployment.ts";
import { EnginePool } from "../serve/engine-pool.ts";
import { answerWithRetries } from "./answer-with-retries.ts";
import { type AnsweringOptions, answeringOptionsOf } from "./answering-options.ts";
import { Attempts } from "./attempts.ts";
import { enginePoolInit, routerUnlessChosen } from "./engine-pool-init.ts";
import { type ForwardContext, startForward } from "./forward-leg.ts";
import type { ForwardRequest, ModelRequest } from "./forward-request.ts";
import type { LLMRequest } from "./llm-request.ts";
import type { LLMResponse } from "./llm-response.ts";
import type { LLMServerProtocol } from "./llm-server-protocol.ts";
import { defaultRetryBudget, RetryBudget } from "./retry-budget.ts";
import { decodeOnly } from "./sequential-handoff.ts";
import { LoraAdapters } from "./lora-adapters.ts";
import { TraceRecorder } from "./trace-recorder.ts";

/** Arguments of {@link LLMServer}. */
export interface LLMServerArguments {
  readonly llmConfig: LLMConfig;
}

const maxRetries = 2;

/** One pool of engines that serve one model: a single hop. Mirrors Ray's `LLMServer`. */
export class LLMServer implements LLMServerProtocol {
  /** Deployments are named after their classes, also when a bundler has renamed them. */
  static readonly name: string = "LLMServer";

  readonly llmConfig: LLMConfig;
  /** @internal The engines, for whoever orchestrates several pools. */
  readonly pool: EnginePool;
  /** @internal LoRA adapters of the engines. */
  readonly adapters: LoraAdapters;
  protected readonly context: DeploymentContext;
  readonly #answering: AnsweringOptions;
  readonly #engineMetrics: EngineMetricsReader;
  readonly #retryBudget = new RetryBudget(defaultRetryBudget);

  /**
   * Options for `serve.deployment(LLMServer).options(...)`: those of the configuration. Mirrors Ray's
   * `LLMServer.get_deployment_options`.
   *
   * @throws ConfigurationError also for what only shows when the engine's configuration is built
   */
  static getDeploymentOptions(llmConfig: LLMConfig): DeploymentInit {
    return serverDeploymentOptions(llmConfig) as DeploymentInit;
  }

  constructor(args: LLMServerArguments, context: DeploymentContext) {
    this.llmConfig = args.llmConfig;
    this.context = context;
    this.#answering = answeringOptionsOf(args.llmConfig);
    this.pool = new EnginePool({
      ...enginePoolInit(args.llmConfig, context),
      onEngineRestart: (replica) => this.adapters.forget(replica),
    });
    this.adapters = new LoraAdapters({
      config: args.llmConfig,
      clock: context.clock,
      replicas: () => this.pool.replicas.replicas,
    });
    this.#engineMetrics = new EngineMetricsReader(() => this.pool.replicas.replicas, context);
  }

  /** @internal Routes by one of our policies unless the deployment's options name another. Before the start. */
  preferRouter(name: string): void {
    const router = routerUnlessChosen(name, this.context);
    if (router !== undefined) this.pool.handle.router = router;
  }

  chat(request: LLMRequest): Promise<LLMResponse> {
    return this.#generate(request);
  }

  completions(request: LLMRequest): Promise<LLMResponse> {
    return this.#generate(request);
  }

  forward(request: ForwardRequest): Promise<LLMResponse> {
    return this.#answer(request, (lease, recorder, context) =>
      startForward(request, lease, recorder, context),
    );
  }

  start(): Promise<void> {
    return this.pool.start();
  }

  shutdown(): Promise<void> {
    this.adapters.stop();
    return this.pool.shutdown();
  }

  status(): DeploymentStatusDetails {
    return this.pool.status();
  }

  /** What the engines report of themselves; nothing when the configuration's `logEngineMetrics` is false. */
  async engineMetrics(): Promise<readonly EngineMetricsPage[]> {
    return this.llmConfig.logEngineMetrics === false ? [] : this.#engineMetrics.pages();
  }

  get enginePools(): readonly EnginePool[] {
    return [this.pool];
  }

  adapterIds(): readonly string[] {
    return this.adapters.ids;
  }

  checkHealth(): void {
    if (this.pool.status().status === "UNHEALTHY") {
      throw new DeploymentUnavailableError(this.context.name, "it has no healthy replica");
    }
  }

  #generate(request: LLMRequest): Promise<LLMResponse> {
    return this.#answer(request, (lease, recorder, context) => decodeOnly(request, lease, recorder, context));
  }

  #answer(
    request: ModelRequest,
    send: (lease: ReplicaLease, recorder: TraceRecorder, context: ForwardContext) => Promise<LLMResponse>,
  ): Promise<LLMResponse> {
    const { clock, random } = this.context;
    this.#retryBudget.deposit();
    const deadlineMs = limitTotalTime(request, this.llmConfig, this.context);
    const attempts = new Attempts({ maxRetries, budget: this.#retryBudget, random, clock, deadlineMs });
    const recorder = new TraceRecorder(request, this.context, "single");
    return answerWithRetries(
      request,
      { handle: this.pool.handle, adapters: this.adapters, attempts, recorder },
      (lease) =>
        send(lease, recorder, { clock, random, answering: this.#answering, decodeAdapters: this.adapters }),
    );
  }
}

/** Ends the request with 504 when its whole time is over. @returns when that is, on the context's clock */
export function limitTotalTime(request: ModelRequest, config: LLMConfig, context: DeploymentContext): number {
  const limit = config.client.totalTimeoutMs;
  const timer = context.clock.setTimer(() => {
    request.cancel.cancel(
      new EngineTimeoutError({ phase: "total", replica: context.name }, "totalTimeoutMs", limit),
    );
  }, limit);
  request.cancel.onEnd(() => timer.cancel());
  return context.clock.now() + limit;
}
