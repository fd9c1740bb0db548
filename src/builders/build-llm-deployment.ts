import { LLMConfig } from "../config/llm-config.ts";
import type { LLMConfigInit, RayLLMConfigInit } from "../config/llm-config-init.ts";
import { LLMServer } from "../llm/llm-server.ts";
import type { Application } from "../serve/application.ts";
import { type BuildDeploymentOptions, serverApplication } from "./server-application.ts";

/**
 * One model's deployment without HTTP in front. Mirrors Ray's `build_llm_deployment`.
 *
 * @throws ConfigurationError
 */
export function buildLlmDeployment(
  llmConfig: LLMConfig | LLMConfigInit | RayLLMConfigInit,
  options: BuildDeploymentOptions = {},
): Application<LLMServer> {
  const config = new LLMConfig(llmConfig);
  return serverApplication(config, LLMServer, options).withNotes(config.notes());
}
