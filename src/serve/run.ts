import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Application } from "./application.ts";
import type { HandleOf } from "./application-part.ts";
import type { ApplicationStatusOverview, ShutdownOptions } from "./application-status.ts";
import type { DeploymentInstance } from "./deployment-context.ts";
import { closeAfter, listen } from "./own-server.ts";

/** Where `serve.run` listens. */
export interface RunOptions {
  /** 0 takes a free one. @default 8000 */
  readonly port?: number | undefined;
  /** @default "127.0.0.1", as Ray Serve */
  readonly host?: string | undefined;
  /** Name in `serve.status()`. @default "default" */
  readonly name?: string | undefined;
  /** Path under which the application answers. @default "/" */
  readonly routePrefix?: string | undefined;
}

/** A running application with a server of its own. */
export interface RunningApplication<Instance extends DeploymentInstance> {
  readonly app: Application<Instance>;
  /** Base URL, with the port that was taken. */
  readonly url: string;
  readonly port: number;
  /** In-process calls; Ray's `serve.run` returns the handle. */
  readonly handle: HandleOf<Instance>;
  /** Stops the application and closes the server; nothing is left afterwards. */
  shutdown(options?: ShutdownOptions): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const running = new Map<string, RunningApplication<DeploymentInstance>>();

/**
 * Starts an application behind a node:http server of its own. A convenience: to use your own server, mount
 * `app.handler` or `app.fetch`. Mirrors Ray's `serve.run`.
 *
 * @throws what the start of the application throws, or the server's error when it can't listen
 */
export async function run<Instance extends DeploymentInstance>(
  app: Application<Instance>,
  options: RunOptions = {},
): Promise<RunningApplication<Instance>> {
  const { port = 8000, host = "127.0.0.1", name = "default", routePrefix = "/" } = options;
  await app.start();
  const prefix = routePrefix.replace(/\/$/, "");
  const server = createServer((request, response) => {
    const url = request.url ?? "/";
    if (prefix !== "" && (url === prefix || url.startsWith(`${prefix}/`) || url.startsWith(`${prefix}?`))) {
      request.url = url.slice(prefix.length) || "/";
    }
    app.handler(request, response);
  });
  try {
    await listen(server, port, host);
  } catch (error) {
    await app.shutdown({ graceMs: 0 });
    throw error;
  }
  const taken = (server.address() as AddressInfo).port;
  let stopping: Promise<void> | undefined;
  const result: RunningApplication<Instance> = {
    app,
    url: `http://${host.includes(":") ? `[${host}]` : host}:${taken}${prefix}`,
    port: taken,
    get handle() {
      return app.handle;
    },
    shutdown(shutdownOptions) {
      stopping ??= closeAfter(server, () => app.shutdown(shutdownOptions)).finally(() =>
        running.delete(name),
      );
      return stopping;
    },
    [Symbol.asyncDispose]: () => result.shutdown(),
  };
  running.set(name, result);
  return result;
}

/** The application that `serve.run` started under this name, while it runs. */
export function applicationNamed(name: string): Application | undefined {
  return running.get(name)?.app;
}

/** State of everything `serve.run` started. Mirrors Ray's `serve.status()`. */
export function status(): { readonly applications: Readonly<Record<string, ApplicationStatusOverview>> } {
  return {
    applications: Object.fromEntries([...running].map(([name, { app }]) => [name, app.status()])),
  };
}

/** Stops everything `serve.run` started. Mirrors Ray's `serve.shutdown()`. */
export async function shutdown(options?: ShutdownOptions): Promise<void> {
  await Promise.all([...running.values()].map((application) => application.shutdown(options)));
}
