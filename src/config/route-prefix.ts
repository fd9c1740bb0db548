import { ConfigurationError } from "../errors/configuration-error.ts";

/**
 * Checks where an application is mounted: `"/"`, or a path that starts with a slash, does not end with one, and
 * has no wildcards; `null` for no HTTP. Ray's `validate_route_prefix`.
 *
 * @throws ConfigurationError in Ray's words
 */
export function validateRoutePrefix(routePrefix: string | null): void {
  if (routePrefix === null) return;
  const problem = routePrefixProblem(routePrefix);
  if (problem === undefined) return;
  throw new ConfigurationError("route_prefix", [
    {
      path: ["route_prefix"],
      message: `Invalid route_prefix '${routePrefix}', ${problem}`,
      type: "value_error",
      expected: '"/" or a path such as "/llm"',
    },
  ]);
}

function routePrefixProblem(routePrefix: string): string | undefined {
  if (!routePrefix.startsWith("/")) return "must start with a forward slash ('/').";
  if (routePrefix !== "/" && routePrefix.endsWith("/")) return "may not end with a trailing '/'.";
  if (/[{}]/.test(routePrefix)) return "may not contain wildcards.";
  return undefined;
}
