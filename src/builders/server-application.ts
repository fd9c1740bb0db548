import { type ClassReference, className } from "../config/class-reference.ts";
import { readEnvironment } from "../config/environment.ts";
import type { LLMConfig } from "../config/llm-config.ts";
import { readDeploymentOptions } from "../config/llm-config-schema.ts";
import { llmDeploymentOptions } from "../config/server-options.ts";
import { DPServer } from "../llm/dp-server.ts";
import { LLMServer } from "../llm/llm-server.ts";
import type { Application } from "../serve/application.ts";
import { deployment, type DeploymentInit } from "../serve/deployment.ts";
import { resolveClass } from "./resolve-class.ts";

/** A class of model server with one pool: {@link LLMServer} or a subclass. */
export type LLMServerClass = typeof LLMServer;

/** Options shared by the builders of one model's deployment. Ray's keyword arguments. */
export interface BuildDeploymentOptions {
  /** Put before the deployment's name; empty for no prefix. @default the class's name and a colon */
  readonly namePrefix?: string | undefined;
  /** Further arguments for the server class. */
  readonly bindKwargs?: Readonly<Record<string, unknown>> | undefined;
  /** Options that win over those of the configuration, in either spelling. */
  readonly overrideServeOptions?: DeploymentInit | undefined;
  /** A class, or Ray's path of one. @default the configuration's `serverCls`, else the builder's own class */
  readonly deploymentCls?: LLMServerClass | string | undefined;
}

/** Classes by the names Ray's paths have for them. A prefill server of Ray's is a pool of engines here. */
const serverClasses: Readonly<Record<string, LLMServerClass>> = {
  LLMServer,
  DPServer,
  PDPrefillServer: LLMServer,
};

/**
 * A model's deployment, with the name and the options that Ray's `build_llm_deployment` gives it.
 *
 * @param fallback the builder's own class
 * @param known classes that may be named by a path
 * @throws ConfigurationError
 */
export function serverApplication(
  llmConfig: LLMConfig,
  fallback: LLMServerClass,
  options: BuildDeploymentOptions = {},
  known: Readonly<Record<string, LLMServerClass>> = serverClasses,
): Application<LLMServer> {
  const chosen: ClassReference | undefined = options.deploymentCls ?? llmConfig.serverCls;
  const path = [options.deploymentCls === undefined ? "serverCls" : "deploymentCls"];
  const serverClass = resolveClass<LLMServerClass>(chosen, fallback, known, path);
  const deploymentOptions = llmDeploymentOptions(llmConfig, {
    className: className(chosen ?? serverClass),
    own: serverClass.getDeploymentOptions(llmConfig),
    namePrefix: options.namePrefix,
    overrideOptions: readDeploymentOptions(options.overrideServeOptions ?? {}),
    defaults: readEnvironment().deploymentDefaults,
  });
  return deployment(serverClass)
    .options(deploymentOptions)
    .bind({ llmConfig, ...options.bindKwargs });
}
