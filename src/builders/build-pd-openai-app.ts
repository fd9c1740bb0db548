import type { LLMConfig } from "../config/llm-config.ts";
import { mergeDeploymentDefaults, type OptionTree } from "../config/merge-options.ts";
import {
  parsePDServingArgs,
  type PDServingArgsInit,
  type RayPDServingArgsInit,
} from "../config/pd-serving-args.ts";
import type { OpenAiIngress } from "../ingress/openai-ingress.ts";
import { DPServer } from "../llm/dp-server.ts";
import { LLMServer } from "../llm/llm-server.ts";
import { PDProxyServer } from "../llm/pd-proxy-server.ts";
import type { Application } from "../serve/application.ts";
import { deployment } from "../serve/deployment.ts";
import { builderExport } from "./builder-export.ts";
import { ingressApplication } from "./ingress-application.ts";
import { resolveClass } from "./resolve-class.ts";
import { serverApplication } from "./server-application.ts";
import { within } from "./within.ts";

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
  const prefillServer = within("PDServingArgs", ["prefillConfig"], () => poolOf(prefillConfig, "Prefill:"));
  const decodeServer = within("PDServingArgs", ["decodeConfig"], () => poolOf(decodeConfig, "Decode:"));

  const proxyClass = resolveClass<typeof PDProxyServer>(
    proxyClsConfig?.proxyCls,
    PDProxyServer,
    { PDProxyServer },
    ["proxyClsConfig", "proxyCls"],
  );
  const proxy = deployment(proxyClass)
    .options(
      mergeDeploymentDefaults(
        proxyClass.getDeploymentOptions(prefillConfig, decodeConfig),
        (proxyDeploymentConfig ?? {}) as OptionTree,
      ),
    )
    .bind({ ...proxyClsConfig?.proxyExtraKwargs, prefillServer, decodeServer });

  return ingressApplication([proxy], [decodeConfig], parsed.ingressClsConfig, parsed.ingressDeploymentConfig)
    .withNotes(parsed.notes)
    .withExport(
      builderExport("build_pd_openai_app", parsed.toRay, [
        { name: "prefill", server: prefillServer, config: prefillConfig, role: "prefill" },
        { name: "decode", server: decodeServer, config: decodeConfig, role: "decode" },
      ]),
    );
}

/** Ray's servers of the two sides are pools here: the proxy orchestrates. */
const poolClasses = { LLMServer, DPServer, PDPrefillServer: LLMServer, PDDecodeServer: LLMServer };

/** The pool of one side. With data parallelism its replicas are the ranks of one group. */
function poolOf(config: LLMConfig, namePrefix: string): Application<LLMServer> {
  const fallback = config.dataParallelSize > 1 ? DPServer : LLMServer;
  return serverApplication(config, fallback, { namePrefix }, poolClasses);
}
