import type { HttpRequest, HttpResponse } from "../adapters/http-exchange.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";

/** Which web pages may call the API from a browser. */
export interface CorsOptions {
  /** Origins, for example `https://app.example.com`; `"*"` for every page, which then may not send credentials. */
  readonly origins: readonly string[] | "*";
  /** Lets pages send cookies and HTTP authentication. Not with `"*"`. @default false */
  readonly credentials?: boolean | undefined;
  /** Request headers pages may send, beside those browsers always let through. @default the ones that were asked for */
  readonly headers?: readonly string[] | undefined;
  /** Seconds a browser may remember a preflight answer. @default 600 */
  readonly maxAgeS?: number | undefined;
}

type Headers = HttpResponse["headers"];

/**
 * Answers browsers that ask whether a page may call. Without one nothing is said about origins, so that browsers
 * refuse: this library is mounted in somebody's server, which may have a policy of its own. (Ray lets every origin
 * in, with credentials.)
 */
export class CorsPolicy {
  readonly #options: CorsOptions;

  /** @throws ConfigurationError when an origin is none, or everybody is let in with credentials */
  constructor(options: CorsOptions) {
    const { origins, credentials } = options;
    if (origins === "*" && credentials === true) {
      throw invalid("credentials", "Every origin with credentials would let any page act for its visitor");
    }
    for (const origin of origins === "*" ? [] : origins) {
      if (!isOrigin(origin))
        throw invalid("origins", `${JSON.stringify(origin)} is no origin such as https://a.b`);
    }
    this.#options = options;
  }

  /**
   * The answer to a preflight request, or undefined when it is none or its origin is not allowed.
   *
   * @param methods what the path accepts
   */
  preflight(request: HttpRequest, methods: readonly string[]): HttpResponse | undefined {
    if (request.method !== "OPTIONS" || request.header("access-control-request-method") === undefined)
      return undefined;
    const origin = this.#allowed(request);
    if (origin === undefined) return undefined;
    const { headers, maxAgeS = 600 } = this.#options;
    const allowed = headers?.join(", ") ?? requestedHeaders(request);
    return {
      status: 204,
      headers: [
        ["access-control-allow-methods", methods.join(", ")],
        ...(allowed === "" ? [] : [["access-control-allow-headers", allowed] as const]),
        ["access-control-max-age", String(maxAgeS)],
      ],
      body: undefined,
    };
  }

  /** Headers for every answer. */
  headersFor(request: HttpRequest): Headers {
    const origin = this.#allowed(request);
    const vary = ["vary", "Origin"] as const;
    if (origin === undefined) return [vary];
    return [
      vary,
      ["access-control-allow-origin", origin],
      ["access-control-expose-headers", "x-request-id, retry-after"],
      ...(this.#options.credentials === true ? [["access-control-allow-credentials", "true"] as const] : []),
    ];
  }

  #allowed(request: HttpRequest): string | undefined {
    const origin = request.header("origin");
    const { origins } = this.#options;
    if (origin === undefined) return undefined;
    if (origins === "*") return "*";
    return origins.includes(origin) ? origin : undefined;
  }
}

/** Header names only: what a browser sends there is a list of tokens. */
function requestedHeaders(request: HttpRequest): string {
  const requested = request.header("access-control-request-headers") ?? "";
  return /^[\w!#$%&'*+.^`|~, -]*$/.test(requested) ? requested : "";
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text;
}

function invalid(option: string, message: string): ConfigurationError {
  return new ConfigurationError("OpenAiIngress", [{ path: ["cors", option], message, type: "value_error" }]);
}
