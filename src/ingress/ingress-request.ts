import type { HttpRequest } from "../adapters/http-exchange.ts";
import type { CancelToken } from "../internal/cancel-token.ts";
import type { RequestTrace } from "../observability/request-trace.ts";
import type { MatchedRoute, Route } from "./routes.ts";

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

/** A request whose route was found. */
export class RoutedRequest implements IngressRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly header: HttpRequest["header"];
  readonly headerNames: HttpRequest["headerNames"];
  readonly readBody: HttpRequest["readBody"];
  readonly cancel: CancelToken;
  readonly route: Route;
  readonly parameter: string | undefined;
  readonly requestId: string;
  /** Filled in when the answer tells how it was served. */
  trace: RequestTrace | undefined;
  readonly onTrace: IngressRequest["onTrace"];

  /** @param wantsTrace whether the answer will tell how it was served */
  constructor(
    received: HttpRequest,
    { route, parameter }: MatchedRoute,
    requestId: string,
    wantsTrace: boolean,
  ) {
    this.method = received.method;
    this.path = received.path;
    this.query = received.query;
    this.header = received.header;
    this.headerNames = received.headerNames;
    this.readBody = received.readBody;
    this.cancel = received.cancel;
    this.route = route;
    this.parameter = parameter;
    this.requestId = requestId;
    this.trace = undefined;
    this.onTrace = wantsTrace ? (trace) => void (this.trace = trace) : undefined;
  }
}
