import type { AutoscalingConfig } from "../config/autoscaling-config.ts";
import type { Clock, Timer } from "../internal/clock.ts";
import {
  type AutoscalingPolicyFunction,
  type AutoscalingState,
  decideReplicas,
  initialAutoscalingState,
  queueLengthPolicy,
} from "./autoscaling-policy.ts";
import { type CurrentLoad, LoadRecorder } from "./load-recorder.ts";
import { fullCapacity, initialTarget } from "./replica-bounds.ts";
import { RequestMetrics } from "./request-metrics.ts";

/** What an {@link Autoscaler} is made from. */
export interface AutoscalerInit {
  readonly deployment: string;
  readonly config: AutoscalingConfig;
  /** Decisions above 0 are rounded up to a multiple of it, 1 or more. */
  readonly gangSize: number;
  /** The deployment's load at the moment; the keys of `running` are its running replicas. */
  readonly load: () => CurrentLoad;
  readonly clock: Clock;
  /** A decision that changes the number of replicas. */
  readonly onTarget: (replicas: number, previous: number) => void;
  readonly warn: (message: string) => void;
}

/** Ray's control loop runs every 0.1 s. */
const controlPeriodMs = 100;

/**
 * Decides how many replicas a deployment should have: Ray's measurements, policy, factors, delays and bounds, at
 * Ray's times, over the requests that wait and run here.
 */
export class Autoscaler {
  readonly #init: AutoscalerInit;
  readonly #metrics = new RequestMetrics();
  readonly #recorder: LoadRecorder;
  readonly #policy: AutoscalingPolicyFunction;
  readonly #recordPeriodS: number;
  #state: AutoscalingState = initialAutoscalingState;
  #target: number;
  #nextRecordS = 0;
  #nextReportS = 0;
  #timer: Timer | undefined;
  #policyFailed = false;
  #cold = false;

  /** @param runningTarget how many replicas were wanted before this process began; undefined: not known */
  constructor(init: AutoscalerInit, runningTarget?: number) {
    this.#init = init;
    const { config } = init;
    this.#recorder = new LoadRecorder(init.deployment, config.lookBackPeriodS);
    this.#recordPeriodS = Math.min(0.2 * config.lookBackPeriodS, config.metricsIntervalS);
    const { policyFunction } = config.policy;
    this.#policy =
      typeof policyFunction === "function"
        ? (policyFunction as unknown as AutoscalingPolicyFunction)
        : queueLengthPolicy;
    this.#target = initialTarget({
      config,
      capacity: fullCapacity,
      currentTarget: runningTarget ?? -1,
      changed: runningTarget === undefined,
    });
  }

  /** Replicas that should run. Ray's `target_num_replicas`. */
  get target(): number {
    return this.#target;
  }

  /** Begins to measure and decide. */
  start(): void {
    if (this.#timer !== undefined) return;
    const nowS = this.#init.clock.now() / 1000;
    this.#nextRecordS = nowS;
    this.#nextReportS = nowS;
    this.#timer = this.#init.clock.setTimer(() => {
      this.#timer?.refresh();
      this.#tick();
    }, controlPeriodMs);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #tick(): void {
    const { clock, config, load } = this.#init;
    const nowS = clock.now() / 1000;
    const current = load();
    // Without replicas nobody can be served, so that Ray reports at once.
    const cold = current.running.size === 0 && current.queued > 0;
    const coldStart = cold && !this.#cold;
    this.#cold = cold;
    if (coldStart || nowS >= this.#nextRecordS) {
      this.#recorder.record(current, nowS);
      this.#nextRecordS = nextTime(this.#nextRecordS, this.#recordPeriodS, nowS);
    }
    if (coldStart || nowS >= this.#nextReportS) {
      this.#metrics.recordHandle(this.#recorder.report(current, nowS));
      if (nowS >= this.#nextReportS) {
        this.#nextReportS = nextTime(this.#nextReportS, config.metricsIntervalS, nowS);
      }
    }
    this.#metrics.dropStale(config, nowS);
    this.#decide(current, nowS);
  }

  #decide(current: CurrentLoad, nowS: number): void {
    const { deployment, config, gangSize, onTarget, warn } = this.#init;
    const load = this.#metrics.load({
      runningReplicaIds: [...current.running.keys()],
      aggregation: "averages",
      aggregationFunction: config.aggregationFunction,
      nowS,
    });
    let decision;
    try {
      decision = decideReplicas(
        {
          deployment,
          config,
          currentReplicas: current.running.size,
          targetReplicas: this.#target,
          totalRequests: load.total,
          queuedRequests: load.queued,
          nowS,
          state: this.#state,
          gangSize,
        },
        this.#policy,
      );
    } catch (error) {
      // As Ray, which logs it and goes on: the next decision may be a better one.
      if (!this.#policyFailed) warn(`The autoscaling policy of "${deployment}" failed: ${String(error)}`);
      this.#policyFailed = true;
      return;
    }
    this.#policyFailed = false;
    this.#state = decision.state;
    if (decision.replicas === this.#target) return;
    const previous = this.#target;
    this.#target = decision.replicas;
    onTarget(decision.replicas, previous);
  }
}

/** The next time of a period that is still ahead: none is made up for. */
function nextTime(plannedS: number, periodS: number, nowS: number): number {
  const next = plannedS + periodS;
  return next > nowS ? next : nowS + periodS;
}
