import type { HttpRequest } from "../adapters/http-exchange.ts";
import type { RequestTrace } from "../observability/request-trace.ts";
import type { Route } from "./routes.ts";

/** An HTTP request on its way through the ingress. */
export interface IngressRequest extends HttpRequest {
  /** The route that matched. */
  readonly route: Route;
  /** The rest of the path, for routes that end in `{model}`. */
  readonly parameter: string | undefined;
  /** Hears of the story of a request to a model as it begins. */
  readonly onTrace?: ((trace: RequestTrace) => void) | undefined;
  /** The client's id for it, or ours. */
  readonly requestId: string;
}
