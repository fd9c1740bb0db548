import type { IngressClsConfig } from "../config/class-config.ts";
import type { LLMConfig } from "../config/llm-config.ts";
import type { LLMDeploymentOptions } from "../config/llm-config-init.ts";
import type { OptionTree } from "../config/merge-options.ts";
import { mergedIngressOptions } from "../config/server-options.ts";
import { makeIngress } from "../ingress/make-ingress.ts";
import { OpenAiIngress } from "../ingress/openai-ingress.ts";
import type { LLMServerProtocol } from "../llm/llm-server-protocol.ts";
import type { Application } from "../serve/application.ts";
import { deployment } from "../serve/deployment.ts";
import { resolveClass } from "./resolve-class.ts";

/** The OpenAI ingress in front of model deployments, as every app builder puts it there. */
export function ingressApplication(
  servers: readonly Application<LLMServerProtocol>[],
  llmConfigs: readonly LLMConfig[],
  ingressClsConfig: IngressClsConfig,
  ingressDeploymentConfig: LLMDeploymentOptions | undefined,
): Application<OpenAiIngress> {
  const ingressClass = makeIngress(
    resolveClass<typeof OpenAiIngress>(ingressClsConfig.ingressCls, OpenAiIngress, { OpenAiIngress }, [
      "ingressClsConfig",
      "ingressCls",
    ]),
  );
  return deployment(ingressClass)
    .options(
      mergedIngressOptions(
        ingressClass.getDeploymentOptions(llmConfigs),
        (ingressDeploymentConfig ?? {}) as OptionTree,
      ),
    )
    .bind({ ...ingressClsConfig.ingressExtraKwargs, llmDeployments: servers })
    .checked();
}
