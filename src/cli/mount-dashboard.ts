import { InvalidArgumentError, Option } from "commander";

import { dashboard } from "../dashboard/dashboard.ts";
import type { Application } from "../serve/application.ts";
import type { CliLog } from "./cli-log.ts";

const usualPrefix = "/dashboard";
const loopback = /^(?:127\.|localhost$|::1$|\[::1\]$)/;

/** `--dashboard [prefix]`: the prefix, without a slash at its end; undefined when it is not asked for. */
export function dashboardOption(): Option {
  return new Option(
    "--dashboard [prefix]",
    `serve the live status page, under this path (default: ${usualPrefix}); whoever reaches the port sees it`,
  )
    .preset(usualPrefix)
    .argParser(prefixOf);
}

/** Mounts the status page, and says so when more than this machine can see it. */
export function mountDashboard(
  app: Application,
  options: { readonly prefix: string; readonly title: string; readonly host: string; readonly log: CliLog },
): void {
  const { prefix, title, host, log } = options;
  app.mount(dashboard(app, { prefix, title }));
  if (!loopback.test(host)) {
    log.warn(
      `The status page is open to everybody who reaches ${host}: put it behind a proxy that asks who they are.`,
    );
  }
}

function prefixOf(value: string): string {
  const prefix = value.replace(/\/+$/, "");
  if (/^\/[^?#\s]+$/.test(prefix)) return prefix;
  throw new InvalidArgumentError(`Give a path that begins with a slash, for example ${usualPrefix}.`);
}
