import { ConfigurationError, type ConfigIssue } from "../errors/configuration-error.ts";
import type { OpenAiIngress } from "./openai-ingress.ts";
import type { RouteMap } from "./routes.ts";

/** A class of ingress: {@link OpenAiIngress} or a subclass. */
export type IngressClass = typeof OpenAiIngress;

/**
 * A new class of the same name with routes for its methods; the given class stays as it is. Mirrors Ray's
 * `make_fastapi_ingress(cls, endpoint_map=...)`.
 *
 * @param options.routes method name to route; added to the class's own routes, which a route of the same method
 *   replaces
 * @throws ConfigurationError when a route names a method the class does not have and does not go to engines
 */
export function makeIngress<Class extends IngressClass>(
  ingressClass: Class,
  options: { readonly routes?: RouteMap | undefined } = {},
): Class {
  const routes: RouteMap = { ...ingressClass.routes, ...options.routes };
  const issues: ConfigIssue[] = [];
  for (const [name, { goesTo }] of Object.entries(routes)) {
    const has = name in ingressClass.prototype;
    if ((goesTo === "decode" || goesTo === "every-engine") && !has) continue;
    if (typeof (ingressClass.prototype as unknown as Record<string, unknown>)[name] !== "function") {
      const message = `${ingressClass.name} has no method "${name}"`;
      issues.push({ path: ["routes", name], message, type: "value_error" });
    }
  }
  if (issues.length > 0) throw new ConfigurationError("The routes of an ingress", issues);
  // The name is what deployments are called after.
  const named = {
    [ingressClass.name]: class extends (ingressClass as IngressClass) {
      static override readonly routes = routes;
    },
  };
  return named[ingressClass.name] as unknown as Class;
}
