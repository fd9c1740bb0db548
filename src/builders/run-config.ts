import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { RequestError } from "../errors/request-error.ts";
import { toOpenAIError } from "../protocol/openai-error.ts";
import type { Application } from "../serve/application.ts";
import type { ApplicationStatusOverview, ShutdownOptions } from "../serve/application-status.ts";
import {
  type LoadConfigOptions,
  type LoadedApplication,
  type LoadedConfig,
  loadConfig,
} from "./load-config.ts";
import { closeAfter, listen } from "../serve/own-server.ts";

/** How to serve a config file. */
export interface RunConfigOptions extends LoadConfigOptions {
  /** Wins over the file; 0 takes a free one. @default the file's, else 8000 */
  readonly port?: number | undefined;
  /** Wins over the file. @default the file's, else "127.0.0.1" */
  readonly host?: string | undefined;
}

/** The applications of a config file, served on one port. */
export interface RunningConfig {
  readonly applications: readonly LoadedApplication[];
  /** Base URL, with the port that was taken. */
  readonly url: string;
  readonly port: number;
  /** See {@link LoadedConfig.notes}. */
  readonly notes: readonly string[];
  /** Stops the applications and closes the server; nothing is left afterwards. */
  shutdown(options?: ShutdownOptions): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const running = new Set<RunningConfig>();

/**
 * Starts every application of a Ray Serve config file on one port, each under its `route_prefix`. What `serve deploy`
 * does in Ray.
 *
 * @param source as {@link loadConfig}, or what it returned
 * @throws ConfigurationError, or what the start of an application throws, or the server's error when it can't listen
 */
export async function runConfig(
  source: string | Readonly<Record<string, unknown>> | LoadedConfig,
  options: RunConfigOptions = {},
): Promise<RunningConfig> {
  const { applications, http, notes } = isLoaded(source) ? source : loadConfig(source, options);
  const port = options.port ?? http.port ?? 8000;
  const host = options.host ?? http.host ?? "127.0.0.1";
  const rootPath = http.rootPath.replace(/\/+$/, "");
  const server = createServer(dispatcher(applications, rootPath));
  if (http.keepAliveTimeoutMs !== undefined) server.keepAliveTimeout = http.keepAliveTimeoutMs;
  try {
    await Promise.all(applications.map(({ app }) => app.start()));
    await listen(server, port, host);
  } catch (error) {
    await Promise.all(applications.map(({ app }) => app.shutdown({ graceMs: 0 })));
    throw error;
  }
  const taken = (server.address() as AddressInfo).port;
  let stopping: Promise<void> | undefined;
  const result: RunningConfig = {
    applications,
    url: `http://${host.includes(":") ? `[${host}]` : host}:${taken}${rootPath}`,
    port: taken,
    notes,
    shutdown(shutdownOptions) {
      stopping ??= closeAfter(server, () =>
        Promise.all(applications.map(({ app }) => app.shutdown(shutdownOptions))),
      ).finally(() => running.delete(result));
      return stopping;
    },
    [Symbol.asyncDispose]: () => result.shutdown(),
  };
  running.add(result);
  return result;
}

/** The application of this name among those that `runConfig` started, while it runs. */
export function configApplicationNamed(name: string): Application | undefined {
  return [...running].flatMap(({ applications }) => applications).find((each) => each.name === name)?.app;
}

/** State of everything `runConfig` started, by application name. */
export function configStatus(): Readonly<Record<string, ApplicationStatusOverview>> {
  return Object.fromEntries(
    [...running].flatMap(({ applications }) => applications.map(({ name, app }) => [name, app.status()])),
  );
}

/** Stops everything `runConfig` started. */
export async function shutdownConfigs(options?: ShutdownOptions): Promise<void> {
  await Promise.all([...running].map((config) => config.shutdown(options)));
}

function isLoaded(source: unknown): source is LoadedConfig {
  return typeof source === "object" && source !== null && "http" in source && "notes" in source;
}

/** Gives each request to the application with the longest prefix that its path is under. Ray's rule. */
function dispatcher(
  applications: readonly LoadedApplication[],
  rootPath: string,
): (request: IncomingMessage, response: ServerResponse) => void {
  const routes = applications
    .flatMap(({ routePrefix, app }) =>
      routePrefix === null ? [] : [{ prefix: `${rootPath}${routePrefix.replace(/\/+$/, "")}`, app }],
    )
    .toSorted((one, other) => other.prefix.length - one.prefix.length);
  return (request, response) => {
    const url = request.url ?? "/";
    const route = routes.find(
      ({ prefix }) => url.startsWith(prefix) && /^(?:[/?]|$)/.test(url.slice(prefix.length)),
    );
    if (route === undefined) {
      refuse(request, response, url);
      return;
    }
    const rest = url.slice(route.prefix.length);
    request.url = rest.startsWith("/") ? rest : `/${rest}`;
    route.app.handler(request, response);
  };
}

function refuse(request: IncomingMessage, response: ServerResponse, url: string): void {
  const path = url.split("?", 1)[0] ?? url;
  const error = new RequestError(`No application is served under ${path}.`, {
    status: 404,
    code: "unknown_route",
  });
  response.writeHead(404, {
    "content-type": "application/json",
    // The rest of an unread body must not be taken for the next request.
    ...(request.complete ? {} : { connection: "close" }),
  });
  response.end(JSON.stringify(toOpenAIError(error).body));
}
