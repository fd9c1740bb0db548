import type { DeploymentStatusDetails } from "./deployment-context.ts";

/** Ray's application statuses. */
export type ApplicationStatus =
  | "NOT_STARTED"
  | "DEPLOYING"
  | "DEPLOY_FAILED"
  | "RUNNING"
  | "UNHEALTHY"
  | "DELETING";

/** State of an application. Mirrors an entry of Ray's `serve.status().applications`. */
export interface ApplicationStatusOverview {
  readonly status: ApplicationStatus;
  readonly message: string;
  /** Milliseconds since 1970 of the last start; null before. */
  readonly lastDeployedMs: number | null;
  /** Requests being answered. */
  readonly inFlight: number;
  readonly deployments: Readonly<Record<string, DeploymentStatusDetails>>;
}

/** How to stop. */
export interface ShutdownOptions {
  /** Milliseconds that running requests get to finish. @default 20000, as Ray's `graceful_shutdown_timeout_s` */
  readonly graceMs?: number | undefined;
}
