// Entry point `serve-llm/dashboard`: the status page.
import { type FetchHandler, fetchHandler } from "../adapters/fetch-handler.ts";
import type { HttpService } from "../adapters/http-exchange.ts";
import { type NodeHandler, nodeHandler } from "../adapters/node-handler.ts";
import type { Application } from "../serve/application.ts";
import type { DeploymentInstance } from "../serve/deployment-context.ts";
import type { MountedService } from "../serve/mounted-service.ts";
import { type DashboardGuard, dashboardService } from "./dashboard-service.ts";
import { LiveFeed } from "./live-feed.ts";

export type { DashboardGuard, DashboardRequest } from "./dashboard-service.ts";

/** How the status page is served. */
export interface DashboardOptions {
  /** Path of the page, as its server sees it; begins with a slash. "/" for a router that strips its own. @default "/dashboard" */
  readonly prefix?: string | undefined;
  /** Decides about every request to the page; without one everybody who reaches it sees it. */
  readonly guard?: DashboardGuard | undefined;
  /** What the page calls the application. @default "serve-llm" */
  readonly title?: string | undefined;
  /** Milliseconds between two updates of an open page, 100 to 60000. @default 500 */
  readonly updateIntervalMs?: number | undefined;
}

/** The status page of one application. */
export interface Dashboard extends MountedService {
  /** For node:http, Express and everything of their shape: passes on what is not under its prefix. */
  readonly handler: NodeHandler;
  /** For everything that takes a Web-standard `Request` and returns a `Response`. */
  readonly fetch: FetchHandler;
  /** Closes every open page and stops watching. The application's shutdown does so too. */
  close(): void;
}

/**
 * A live page about an application: pools and replicas, requests as they run, rates and latencies. Served nowhere until
 * it is mounted, on the application (`app.mount(dashboard(app))`) or by its own `handler` or `fetch`.
 *
 * It shows names of replicas and models, ids and times of requests. It never has prompts, answers, headers, keys or URLs.
 *
 * @throws TypeError for a bad prefix, RangeError for a bad interval
 */
export function dashboard<Instance extends DeploymentInstance>(
  app: Application<Instance>,
  options: DashboardOptions = {},
): Dashboard {
  const { guard, title = "serve-llm", updateIntervalMs = 500 } = options;
  const prefix = readPrefix(options.prefix ?? "/dashboard");
  if (guard !== undefined && typeof guard !== "function") {
    throw new TypeError(`The dashboard's guard has to be a function, not ${typeof guard}.`);
  }
  if (!(updateIntervalMs >= 100 && updateIntervalMs <= 60_000)) {
    throw new RangeError(
      `updateIntervalMs takes 100 to 60000 milliseconds, not ${String(updateIntervalMs)}.`,
    );
  }
  const feed = new LiveFeed({ title, intervalMs: updateIntervalMs });
  const view = app.watch(feed);
  feed.watch(view);
  const service: HttpService = dashboardService({
    prefix,
    guard,
    feed,
    warn: (message) => view.warn(message),
  });
  return {
    prefix,
    service,
    handler: nodeHandler(service),
    fetch: fetchHandler(service),
    close: () => feed.stop(),
  };
}

/** Without the slash at its end; empty for "/". */
function readPrefix(prefix: string): string {
  if (typeof prefix !== "string" || !/^\/[^?#\s]*$/.test(prefix)) {
    throw new TypeError(
      `The dashboard's prefix has to be a path that begins with a slash, for example "/dashboard", not ${JSON.stringify(prefix)}.`,
    );
  }
  return prefix.replace(/\/+$/, "");
}
