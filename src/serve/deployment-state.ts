import type { DeploymentStatus, DeploymentStatusTrigger } from "./deployment-context.ts";

/** What a deployment looks like at one moment. */
export interface ObservedDeployment {
  /** Replicas that should run. */
  readonly target: number;
  /** Replicas that run: they get requests. */
  readonly running: number;
  /** Of those, how many are healthy. */
  readonly well: number;
  /** Replicas that are on their way in or out. */
  readonly changing: number;
}

/**
 * Status of a deployment whose size is decided here, and why: Ray's `DeploymentStatusInfo` and its transitions.
 *
 * One difference: engines elsewhere come back by themselves, so that a deployment is unhealthy only while none of
 * its replicas is well, not as soon as one is not.
 */
export class DeploymentState {
  #status: DeploymentStatus = "UPDATING";
  #trigger: DeploymentStatusTrigger = "CONFIG_UPDATE_STARTED";
  #message = "";

  get status(): DeploymentStatus {
    return this.#status;
  }

  get trigger(): DeploymentStatusTrigger {
    return this.#trigger;
  }

  get message(): string {
    return this.#message;
  }

  /**
   * The autoscaler decided.
   *
   * @param settled whether the replicas that run are within the deployment's bounds; before that it still deploys, and
   *   Ray leaves its status alone
   */
  autoscaled(replicas: number, previous: number, settled: boolean): void {
    const scaling = this.#status === "UPSCALING" || this.#status === "DOWNSCALING";
    if (this.#status === "UNHEALTHY" || this.#status === "DEPLOY_FAILED") return;
    if (!settled || (scaling && this.#trigger !== "AUTOSCALING")) return;
    const up = replicas > previous;
    this.#status = up ? "UPSCALING" : "DOWNSCALING";
    this.#trigger = "AUTOSCALING";
    this.#message = `${up ? "Upscaling" : "Downscaling"} from ${previous} to ${replicas} replicas.`;
  }

  /** Moves on to what is the case now. */
  observe({ target, running, well, changing }: ObservedDeployment): void {
    if (running > 0 && well === 0) {
      const deploying = this.#status === "UPDATING" || this.#status === "DEPLOY_FAILED";
      this.#status = deploying ? "DEPLOY_FAILED" : "UNHEALTHY";
      this.#trigger = "HEALTH_CHECK_FAILED";
      this.#message = "No healthy replica.";
      return;
    }
    if (running !== target || changing > 0) return;
    if (this.#status !== "HEALTHY") this.#trigger = triggersOfHealthy[this.#status];
    this.#status = "HEALTHY";
    this.#message = "";
  }
}

/** Ray's transitions on its event `HEALTHY`; from there nothing changes. */
const triggersOfHealthy: Readonly<Record<Exclude<DeploymentStatus, "HEALTHY">, DeploymentStatusTrigger>> = {
  UPDATING: "CONFIG_UPDATE_COMPLETED",
  UPSCALING: "UPSCALE_COMPLETED",
  DOWNSCALING: "DOWNSCALE_COMPLETED",
  UNHEALTHY: "UNSPECIFIED",
  DEPLOY_FAILED: "UNSPECIFIED",
};
