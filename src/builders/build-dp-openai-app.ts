import type { RayCase } from "../config/ray-case.ts";
import { type DPOpenAiServingArgsInit, parseDPOpenAiServingArgs } from "../config/serving-args.ts";
import type { OpenAiIngress } from "../ingress/openai-ingress.ts";
import { DPServer } from "../llm/dp-server.ts";
import type { Application } from "../serve/application.ts";
import { builderExport } from "./builder-export.ts";
import { ingressApplication } from "./ingress-application.ts";
import { serverApplication } from "./server-application.ts";
import { within } from "./within.ts";

/**
 * The OpenAI API over the ranks of one data-parallel model. Mirrors Ray's `build_dp_openai_app`.
 *
 * @example
 * const app = buildDpOpenaiApp({
 *   llmConfig: {
 *     modelLoadingConfig: { modelId: "qwen-moe" },
 *     engineKwargs: { data_parallel_size: 2 },
 *     endpoints: ["http://rank-0:8000", "http://rank-1:8000"],
 *   },
 * });
 *
 * @throws ConfigurationError naming every problem
 */
export function buildDpOpenaiApp(
  args: DPOpenAiServingArgsInit | RayCase<DPOpenAiServingArgsInit>,
): Application<OpenAiIngress> {
  const parsed = parseDPOpenAiServingArgs(args);
  const { llmConfig, ingressClsConfig, ingressDeploymentConfig } = parsed;
  const server = within("DPOpenAiServingArgs", ["llmConfig"], () => serverApplication(llmConfig, DPServer));
  return ingressApplication([server], [llmConfig], ingressClsConfig, ingressDeploymentConfig)
    .withNotes(llmConfig.notes())
    .withExport(
      builderExport("build_dp_openai_app", parsed.toRay, [
        { name: llmConfig.modelId, server, config: llmConfig },
      ]),
    );
}
