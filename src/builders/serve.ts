import type { ApplicationStatusOverview, ShutdownOptions } from "../serve/application-status.ts";
import { deployment } from "../serve/deployment.ts";
import { run, shutdown, status } from "../serve/run.ts";
import { getAppHandle, getDeploymentHandle } from "./get-deployment-handle.ts";
import { loadConfig } from "./load-config.ts";
import { configStatus, runConfig, shutdownConfigs } from "./run-config.ts";

/** Ray's `serve` module: deployments, and applications behind a server of their own. */
export interface Serve {
  /** Makes a class deployable. Ray's `serve.deployment(Cls)`. */
  readonly deployment: typeof deployment;
  /** Starts an application behind its own node:http server. Ray's `serve.run(app)`. */
  readonly run: typeof run;
  /** Reads a Ray Serve config file and builds its applications. */
  readonly loadConfig: typeof loadConfig;
  /** Starts every application of a Ray Serve config file on one port. Ray's `serve deploy`. */
  readonly runConfig: typeof runConfig;
  /** Calls one deployment of an application without HTTP. Ray's `serve.get_deployment_handle`. */
  readonly getDeploymentHandle: typeof getDeploymentHandle;
  /** Calls a running application without HTTP. Ray's `serve.get_app_handle`. */
  readonly getAppHandle: typeof getAppHandle;
  /** State of everything that `run` and `runConfig` started. Ray's `serve.status()`. */
  status(): { readonly applications: Readonly<Record<string, ApplicationStatusOverview>> };
  /** Stops everything that `run` and `runConfig` started. Ray's `serve.shutdown()`. */
  shutdown(options?: ShutdownOptions): Promise<void>;
}

/** Ray's `serve` module. See {@link Serve}. */
export const serve: Serve = {
  deployment,
  run,
  loadConfig,
  runConfig,
  getDeploymentHandle,
  getAppHandle,
  status: () => ({ applications: { ...status().applications, ...configStatus() } }),
  async shutdown(options) {
    await Promise.all([shutdown(options), shutdownConfigs(options)]);
  },
};
