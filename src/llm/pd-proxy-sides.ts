import { pairProblems } from "../config/pd-serving-args.ts";
import { describeValue } from "../config/describe-value.ts";
import { ConfigurationError, type ConfigIssue } from "../errors/configuration-error.ts";
import { LLMServer } from "./llm-server.ts";

const names = { prefillConfig: "prefillServer", decodeConfig: "decodeServer" } as const;

/**
 * Checks the two pools of a proxy: graphs put together by hand follow the rules of `buildPdOpenaiApp`.
 *
 * @param sides what was bound, whatever it is
 * @param deployment name of the proxy
 * @throws ConfigurationError naming every problem
 */
export function checkSides(
  sides: { readonly prefillServer: unknown; readonly decodeServer: unknown },
  deployment: string,
): void {
  const { prefillServer, decodeServer } = sides;
  const issues: ConfigIssue[] = [];
  for (const [name, server] of Object.entries({ prefillServer, decodeServer })) {
    if (isPool(server)) continue;
    issues.push({
      path: [name],
      type: server === undefined ? "missing" : "value_error",
      message: "It is no deployment with engines",
      expected: "what buildLlmDeployment, buildDpDeployment or serve.deployment(LLMServer).bind(...) gives",
      received: server === undefined ? undefined : describeValue(server, [name]),
    });
  }
  if (isPool(prefillServer) && isPool(decodeServer)) {
    if (prefillServer === decodeServer) {
      issues.push({
        path: ["decodeServer"],
        type: "value_error",
        message: `Prefill and decode are one deployment, "${prefillServer.pool.handle.deployment}": nothing could be handed over`,
      });
    }
    for (const { path, message } of pairProblems(prefillServer.llmConfig, decodeServer.llmConfig)) {
      const [side] = path;
      const renamed = side === undefined ? [] : [names[side as keyof typeof names] ?? side];
      issues.push({ path: renamed, type: "value_error", message });
    }
  }
  if (issues.length > 0) throw new ConfigurationError(`Deployment "${deployment}"`, issues);
}

/** By its parts: two copies of this package may be loaded. */
function isPool(value: unknown): value is LLMServer {
  if (value instanceof LLMServer) return true;
  const { pool, adapters, llmConfig } = (value ?? {}) as Partial<LLMServer>;
  return pool !== undefined && adapters !== undefined && llmConfig !== undefined;
}
