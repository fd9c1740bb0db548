import type { LLMConfig } from "../config/llm-config.ts";
import { LLMServer } from "../llm/llm-server.ts";
import type { Application } from "../serve/application.ts";
import { deployment, type DeploymentInit } from "../serve/deployment.ts";

/** A class of model server with one pool: {@link LLMServer} or a subclass. */
export type LLMServerClass = typeof LLMServer;

/** Options shared by the builders of one model's deployment. Ray's keyword arguments. */
export interface BuildDeploymentOptions {
  /** Put before the deployment's name. @default the class's name and a colon */
  readonly namePrefix?: string | undefined;
  /** Further arguments for the server class. */
  readonly bindKwargs?: Readonly<Record<string, unknown>> | undefined;
  /** Options that win over those of the configuration. */
  readonly overrideServeOptions?: DeploymentInit | undefined;
  /** @default the builder's own class */
  readonly deploymentCls?: LLMServerClass | undefined;
}

/** What every model deployment has unless it says otherwise. Ray's defaults. */
const defaults = {
  maxOngoingRequests: 1_000_000_000,
  healthCheckPeriodS: 10,
  healthCheckTimeoutS: 10,
} as const;

/** A model's deployment of the given class, named as Ray names it. */
export function serverApplication(
  llmConfig: LLMConfig,
  serverClass: LLMServerClass,
  options: BuildDeploymentOptions,
): Application<LLMServer> {
  const { name: baseName, ...configured } = serverClass.getDeploymentOptions(llmConfig);
  const name = (options.namePrefix ?? `${serverClass.name}:`) + (baseName ?? cleanModelId(llmConfig.modelId));
  return deployment(serverClass)
    .options({ ...defaults, ...configured, name, ...options.overrideServeOptions })
    .bind({ llmConfig, ...options.bindKwargs });
}

/** A model id as part of a deployment's name: Ray's rule. */
function cleanModelId(modelId: string): string {
  return modelId.replaceAll("/", "--").replaceAll(".", "_");
}
