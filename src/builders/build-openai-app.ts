import type { RayCase } from "../config/ray-case.ts";
import { checkDeploymentNames } from "../config/server-options.ts";
import { type LLMServingArgsInit, parseLLMServingArgs } from "../config/serving-args.ts";
import type { OpenAiIngress } from "../ingress/openai-ingress.ts";
import { LLMServer } from "../llm/llm-server.ts";
import type { Application } from "../serve/application.ts";
import { builderExport } from "./builder-export.ts";
import { ingressApplication } from "./ingress-application.ts";
import { serverApplication } from "./server-application.ts";
import { within } from "./within.ts";

/**
 * The OpenAI API over one pool for each of several models, without disaggregation. Mirrors Ray's `build_openai_app`.
 *
 * @throws ConfigurationError naming every problem
 */
export function buildOpenaiApp(
  args: LLMServingArgsInit | RayCase<LLMServingArgsInit>,
): Application<OpenAiIngress> {
  const parsed = parseLLMServingArgs(args);
  const { llmConfigs, ingressClsConfig, ingressDeploymentConfig } = parsed;
  const servers = llmConfigs.map((config, index) =>
    within("LLMServingArgs", ["llmConfigs", index], () => serverApplication(config, LLMServer)),
  );
  checkDeploymentNames(servers.map(({ name }) => name));
  const pools = servers.map((server, index) => {
    const config = llmConfigs[index]!;
    return { name: config.modelId, server, config };
  });
  return ingressApplication(servers, llmConfigs, ingressClsConfig, ingressDeploymentConfig)
    .withNotes(llmConfigs.flatMap((config) => config.notes()))
    .withExport(builderExport("build_openai_app", parsed.toRay, pools));
}
