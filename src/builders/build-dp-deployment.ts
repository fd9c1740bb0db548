import { LLMConfig } from "../config/llm-config.ts";
import type { LLMConfigInit, RayLLMConfigInit } from "../config/llm-config-init.ts";
import { DPServer } from "../llm/dp-server.ts";
import type { LLMServer } from "../llm/llm-server.ts";
import type { Application } from "../serve/application.ts";
import { type BuildDeploymentOptions, serverApplication } from "./server-application.ts";

/**
 * One data-parallel model's deployment without HTTP in front: a replica for each rank. Mirrors Ray's
 * `build_dp_deployment`. A model with a `data_parallel_size` of 1 is an ordinary pool.
 *
 * @throws ConfigurationError also when `num_replicas` is not `data_parallel_size`, or autoscaling is asked for
 */
export function buildDpDeployment(
  llmConfig: LLMConfig | LLMConfigInit | RayLLMConfigInit,
  options: BuildDeploymentOptions = {},
): Application<LLMServer> {
  const config = new LLMConfig(llmConfig);
  return serverApplication(config, DPServer, options).withNotes(config.notes());
}
