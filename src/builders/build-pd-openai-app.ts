import { parsePDServingArgs, type PDServingArgsInit, type RayPDServingArgsInit } from "../config/pd-serving-args.ts";
import type { OpenAiIngress } from "../ingress/openai-ingress.ts";
import { LLMServer } from "../llm/llm-server.ts";
import { PDProxyServer } from "../llm/pd-proxy-server.ts";
import type { Application } from "../serve/application.ts";
import { deployment, type DeploymentInit } from "../serve/deployment.ts";
import { ingressApplication } from "./ingress-application.ts";
import { resolveClass } from "./resolve-class.ts";
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
export function buildPdOpenaiApp(args: PDServingArgsInit | RayPDServingArgsInit): Application<OpenAiIngress> {
  const parsed = parsePDServingArgs(args);
  const { prefillConfig, decodeConfig, proxyClsConfig, proxyDeploymentConfig } = parsed;
  const prefillServer = serverApplication(prefillConfig, LLMServer, { namePrefix: "Prefill:" });
  const decodeServer = serverApplication(decodeConfig, LLMServer, { namePrefix: "Decode:" });

  const proxyClass = resolveClass<typeof PDProxyServer>(proxyClsConfig?.proxyCls, PDProxyServer, { PDProxyServer }, [
    "proxyClsConfig",
    "proxyCls",
  ]);
  const proxy = deployment(proxyClass)
    .options({
      ...proxyClass.getDeploymentOptions(prefillConfig, decodeConfig),
      ...(proxyDeploymentConfig as DeploymentInit | undefined),
    })
    .bind({ ...proxyClsConfig?.proxyExtraKwargs, prefillServer, decodeServer });

  return ingressApplication(
    [proxy],
    [decodeConfig],
    parsed.ingressClsConfig,
    parsed.ingressDeploymentConfig,
  ).withNotes(parsed.notes);
}
