import { parsePDServingArgs, type PDServingArgsInit } from "../config/pd-serving-args.ts";
import { makeIngress } from "../ingress/make-ingress.ts";
import { OpenAiIngress } from "../ingress/openai-ingress.ts";
import { LLMServer } from "../llm/llm-server.ts";
import { PDProxyServer } from "../llm/pd-proxy-server.ts";
import type { Application } from "../serve/application.ts";
import { deployment } from "../serve/deployment.ts";
import { serverApplication } from "./server-application.ts";

/**
 * The OpenAI API over a prefill pool and a decode pool of one model. Mirrors Ray's `build_pd_openai_app`; starts
 * nothing.
 *
 * @example
 * const app = buildPdOpenaiApp({ prefillConfig, decodeConfig });
 * http.createServer(app.handler).listen(8000);
 *
 * @throws ConfigurationError naming every problem, with Ray's words where Ray has some
 */
export function buildPdOpenaiApp(args: PDServingArgsInit): Application<OpenAiIngress> {
  const { prefillConfig, decodeConfig, proxyClsConfig, proxyDeploymentConfig, ingressClsConfig, ingressDeploymentConfig } =
    parsePDServingArgs(args);
  const prefillServer = serverApplication(prefillConfig, LLMServer, { namePrefix: "Prefill:" });
  const decodeServer = serverApplication(decodeConfig, LLMServer, { namePrefix: "Decode:" });

  const proxyClass = (proxyClsConfig?.proxyCls ?? PDProxyServer) as typeof PDProxyServer;
  const proxy = deployment(proxyClass)
    .options({ ...proxyClass.getDeploymentOptions(prefillConfig, decodeConfig), ...proxyDeploymentConfig })
    .bind({ ...proxyClsConfig?.proxyExtraKwargs, prefillServer, decodeServer });

  const ingressClass = makeIngress((ingressClsConfig.ingressCls ?? OpenAiIngress) as typeof OpenAiIngress);
  return deployment(ingressClass)
    .options({ ...ingressClass.getDeploymentOptions([decodeConfig]), ...ingressDeploymentConfig })
    .bind({ ...ingressClsConfig.ingressExtraKwargs, llmDeployments: [proxy] });
}
