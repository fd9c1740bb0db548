import type { HttpRequest, HttpResponse } from "../adapters/http-exchange.ts";
import { RequestError } from "../errors/request-error.ts";
import { errorResponse, withHeaders } from "./json-response.ts";
import type { RouteMatch } from "./routes.ts";

/** The answer to a request that no route serves: 404, or 405 that names the methods there are. */
export function unservedAnswer(
  request: HttpRequest,
  match: Exclude<RouteMatch, { kind: "match" }>,
): HttpResponse {
  const path = request.path.slice(0, 200);
  if (match.kind === "no-route") {
    const message = `Unknown route: ${request.method} ${path}`;
    const error = new RequestError(message, { status: 404, code: "unknown_route" });
    return { ...errorResponse(error), unserved: true };
  }
  const allowed = match.allowed.join(", ");
  const message = `${path} does not accept ${request.method}; use ${allowed}.`;
  const error = new RequestError(message, { status: 405, code: "method_not_allowed" });
  return withHeaders(errorResponse(error), [["allow", allowed]]);
}
