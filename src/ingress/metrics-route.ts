import { ConfigurationError } from "../errors/configuration-error.ts";
import type { Route } from "./routes.ts";

/**
 * The route of the application's metrics.
 *
 * @throws ConfigurationError when the path does not begin with a slash, or has a query
 */
export function metricsRoute(path: string): Route {
  if (typeof path === "string" && /^\/[^?#\s{}]+$/.test(path)) return { method: "GET", path };
  throw new ConfigurationError("The ingress", [
    {
      path: ["metricsPath"],
      message: "This is no path that metrics could be served under",
      type: "value_error",
      expected: 'a path that begins with a slash, for example "/metrics"',
      received: JSON.stringify(path),
    },
  ]);
}
