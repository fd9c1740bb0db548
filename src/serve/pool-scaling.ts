import { Autoscaler } from "../autoscaling/autoscaler.ts";
import type { CurrentLoad } from "../autoscaling/load-recorder.ts";
import { ScaleDriver } from "../autoscaling/scale-driver.ts";
import type { AutoscalingConfig } from "../config/autoscaling-config.ts";
import type { EngineTemplate, ScalingContext, ScalingTarget } from "../config/scaling-target.ts";
import type { Clock } from "../internal/clock.ts";
import { DeploymentState, type ObservedDeployment } from "./deployment-state.ts";

/** How a pool is sized from here. */
export interface PoolScalingOptions {
  readonly target: ScalingTarget;
  /** Undefined: `numReplicas` is fixed. */
  readonly autoscaling: AutoscalingConfig | undefined;
  readonly numReplicas: number;
  /** From `gangSchedulingConfig`; 1 without. */
  readonly gangSize: number;
  /** Milliseconds an engine that is scaled down may drain; then what still uses it fails. 0 or more. @default no limit */
  readonly drainTimeoutMs: number | undefined;
  /** What its engines are, for a target that starts them. */
  readonly engine: EngineTemplate;
}

/** What a {@link PoolScaling} is made from. */
export interface PoolScalingInit extends PoolScalingOptions {
  readonly deployment: string;
  readonly clock: Clock;
  readonly warn: (message: string) => void;
  readonly load: () => CurrentLoad;
  /** The pool at the moment; its `target` is added here. */
  readonly observe: () => Omit<ObservedDeployment, "target">;
  readonly context: ScalingContext;
}

/** Keeps the size of one pool: decides (Ray's autoscaler, or a fixed number), and tells the scaling target. */
export class PoolScaling {
  readonly #init: PoolScalingInit;
  readonly #driver: ScaleDriver;
  readonly #state = new DeploymentState();
  readonly #stop = new AbortController();
  #autoscaler: Autoscaler | undefined;
  #fixed = 0;
  #starting: Promise<void> | undefined;

  constructor(init: PoolScalingInit) {
    this.#init = init;
    this.#driver = new ScaleDriver(init);
  }

  /** Replicas that should run. */
  get target(): number {
    return this.#autoscaler?.target ?? this.#fixed;
  }

  /** True when at least one replica runs or is wanted, or will be as soon as a request waits. */
  get mayStart(): boolean {
    return this.target > 0 || this.#autoscaler !== undefined;
  }

  get state(): DeploymentState {
    this.#observe();
    return this.#state;
  }

  /** Starts the scaling target and tells it the first number. Safe to call again; after a failure it tries once more. */
  start(): Promise<void> {
    this.#starting ??= this.#start().catch((error: unknown) => {
      this.#starting = undefined;
      throw error;
    });
    return this.#starting;
  }

  async #start(): Promise<void> {
    const { target, autoscaling, numReplicas, context, warn, deployment } = this.#init;
    await target.start?.(context);
    let known: number | undefined;
    try {
      known = await target.getReplicas?.(this.#stop.signal);
    } catch (error) {
      warn(`The scaling target of "${deployment}" does not tell how many replicas it has: ${String(error)}`);
    }
    if (known !== undefined) this.#driver.assume(known);
    if (autoscaling === undefined) {
      this.#fixed = numReplicas;
    } else {
      this.#autoscaler = new Autoscaler(
        {
          ...this.#init,
          config: autoscaling,
          onTarget: (replicas, previous) => this.#onTarget(replicas, previous, autoscaling),
        },
        known,
      );
      this.#autoscaler.start();
    }
    this.#driver.want(this.target);
  }

  /** The pool changed: its status may have, too. */
  onPoolChange(): void {
    this.#observe();
  }

  /** Decides nothing more; the target keeps its engines, for requests that still run. */
  async stopDeciding(): Promise<void> {
    this.#stop.abort();
    this.#autoscaler?.stop();
    await this.#driver.stop();
  }

  /** The target stops what it started. */
  async stopTarget(): Promise<void> {
    await this.#init.target.stop?.();
  }

  #onTarget(replicas: number, previous: number, { minReplicas, maxReplicas }: AutoscalingConfig): void {
    this.#observe();
    const { running } = this.#init.observe();
    this.#state.autoscaled(replicas, previous, running >= minReplicas && running <= maxReplicas);
    this.#driver.want(replicas);
  }

  #observe(): void {
    if (this.#autoscaler === undefined && this.#fixed === 0) return;
    this.#state.observe({ ...this.#init.observe(), target: this.target });
  }
}
