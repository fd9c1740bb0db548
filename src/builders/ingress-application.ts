import type { IngressClsConfig } from "../config/class-config.ts";
import type { LLMConfig } from "../config/llm-config.ts";
import type { LLMDeploymentOptions } from "../config/llm-config-init.ts";
import { makeIngress } from "../ingress/make-ingress.ts";
import { OpenAiIngress } from "../ingress/openai-ingress.ts";
import type { LLMServerProtocol } from "../llm/llm-server-protocol.ts";
import type { Application } from "../serve/application.ts";
import { deployment, type DeploymentInit } from "../serve/deployment.ts";
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
    .options(mergeIngressOptions(ingressClass.getDeploymentOptions(llmConfigs), ingressDeploymentConfig))
    .bind({ ...ingressClsConfig.ingressExtraKwargs, llmDeployments: servers })
    .checked();
}

/** What the user says wins; a fixed number of replicas drops the default autoscaling. Ray's rule. */
function mergeIngressOptions(defaults: DeploymentInit, given: LLMDeploymentOptions | undefined): DeploymentInit {
  const { autoscalingConfig, ...rest } = defaults;
  const { numReplicas, autoscalingConfig: own } = given ?? {};
  if (numReplicas !== undefined && numReplicas !== null) return { ...rest, ...given } as DeploymentInit;
  return {
    ...rest,
    ...given,
    autoscalingConfig: { ...(autoscalingConfig as object), ...own },
  } as DeploymentInit;
}
