import type { HttpRequest, HttpResponse, HttpService } from "../adapters/http-exchange.ts";
import { isUnder } from "../serve/mounted-service.ts";
import type { LiveFeed } from "./live-feed.ts";
import { pageDocument } from "./page-document.ts";

/** A request to the page, for its guard. */
export interface DashboardRequest {
  readonly method: string;
  /** Without query. */
  readonly path: string;
  /** The value of a header, whatever its case; undefined when it did not come. */
  header(name: string): string | undefined;
}

/**
 * Decides who sees the page: true lets a request in, false answers 403, a `Response` is the answer instead, for example
 * 401 with `www-authenticate`. When it throws, the answer is 500.
 */
export type DashboardGuard = (request: DashboardRequest) => boolean | Response | Promise<boolean | Response>;

/** What the page is served from. */
export interface DashboardServiceOptions {
  /** Without a slash at its end. */
  readonly prefix: string;
  readonly guard: DashboardGuard | undefined;
  readonly feed: LiveFeed;
  /** For what a person should know. */
  readonly warn: (message: string) => void;
}

/** Pages that may be open at once. */
const mostPages = 100;

const safety: HttpResponse["headers"] = [
  ["cache-control", "no-store"],
  ["x-content-type-options", "nosniff"],
  ["referrer-policy", "no-referrer"],
  ["x-frame-options", "DENY"],
  ["cross-origin-resource-policy", "same-origin"],
  ["cross-origin-opener-policy", "same-origin"],
];

/** Serves the page at its prefix, and its stream of server-sent events at `events` below it. */
export function dashboardService(options: DashboardServiceOptions): HttpService {
  const { prefix, guard, feed } = options;
  return async (request) => {
    const rest = isUnder(request.path, prefix) ? request.path.slice(prefix.length) : undefined;
    const isPage = rest === "" || rest === "/";
    if (!isPage && rest !== "/events") return { ...text(404, "Not found."), unserved: true };
    const refusal = await refusalOf(guard, request, options.warn);
    if (refusal !== undefined) return refusal;
    if (request.method !== "GET" && request.method !== "HEAD") {
      return text(405, "Only GET is allowed.", [["allow", "GET, HEAD"]]);
    }
    return isPage ? page(request) : events(request, feed);
  };
}

async function page({ method }: HttpRequest): Promise<HttpResponse> {
  const { html, contentSecurityPolicy } = await pageDocument();
  return {
    status: 200,
    headers: [
      ["content-type", "text/html; charset=utf-8"],
      ["content-security-policy", contentSecurityPolicy],
      ...safety,
    ],
    body: method === "HEAD" ? undefined : html,
  };
}

function events({ method, cancel }: HttpRequest, feed: LiveFeed): HttpResponse {
  if (feed.isStopped) return text(503, "The application has shut down.");
  if (feed.pages >= mostPages) return text(503, "Too many open pages.", [["retry-after", "10"]]);
  return {
    status: 200,
    headers: [
      ["content-type", "text/event-stream"],
      // Proxies that gather bytes would make the page stutter.
      ["x-accel-buffering", "no"],
      ...safety,
    ],
    body: method === "HEAD" ? undefined : feed.open((listener) => cancel.onEnd(listener)),
  };
}

/** Whoever is not let in for certain stays out. */
async function refusalOf(
  guard: DashboardGuard | undefined,
  { method, path, header }: HttpRequest,
  warn: (message: string) => void,
): Promise<HttpResponse | undefined> {
  if (guard === undefined) return undefined;
  try {
    const verdict = await guard({ method, path, header: (name) => header(name.toLowerCase()) });
    if (verdict === true) return undefined;
    if (verdict instanceof Response) return await responseOf(verdict);
    return text(403, "You may not see this page.");
  } catch (error) {
    warn(`The dashboard's guard threw: ${error instanceof Error ? error.message : String(error)}`);
    return text(500, "The page's guard failed.");
  }
}

async function responseOf(response: Response): Promise<HttpResponse> {
  const body = new Uint8Array(await response.arrayBuffer());
  return { status: response.status, headers: [...response.headers, ["cache-control", "no-store"]], body };
}

function text(status: number, message: string, headers: HttpResponse["headers"] = []): HttpResponse {
  return {
    status,
    headers: [["content-type", "text/plain; charset=utf-8"], ...headers, ...safety],
    body: new TextEncoder().encode(`${message}\n`),
  };
}
