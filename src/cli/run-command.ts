import { Command, Option } from "commander";

import { type LoadedConfig, loadConfig } from "../builders/load-config.ts";
import { runConfig } from "../builders/run-config.ts";
import { channels } from "../observability/channels.ts";
import { apiKeyFrom } from "./api-key.ts";
import { CliError, listenError } from "./cli-error.ts";
import { CliLog } from "./cli-log.ts";
import { hostOption, jsonOption, milliseconds, nonNegative, portOption, urlList } from "./option-values.ts";
import { dashboardOption, mountDashboard } from "./mount-dashboard.ts";
import { servedModel } from "./served-model.ts";
import { stopSignal } from "./stop-signal.ts";
import { urlApp } from "./url-app.ts";

interface RunCommandOptions {
  readonly prefill?: readonly string[] | undefined;
  readonly decode?: readonly string[] | undefined;
  readonly endpoints?: readonly string[] | undefined;
  readonly port?: number | undefined;
  readonly host?: string | undefined;
  readonly model?: string | undefined;
  readonly kvConnector?: string | undefined;
  readonly kvLeaseMs?: number | undefined;
  readonly apiKeyEnv?: string | undefined;
  readonly dashboard?: string | undefined;
  readonly graceMs: number;
  readonly json: boolean;
}

/** `serve-llm run`: the application over engines that run elsewhere. */
export function runCommand(): Command {
  return new Command("run")
    .summary("serve the OpenAI API over your vLLM engines")
    .description(
      "Serves the OpenAI API over vLLM prefill and decode engines that run elsewhere.\n" +
        "With a Ray Serve config file everything but the URLs comes from the file; without one, from the options.",
    )
    .argument("[serve.yaml]", "Ray Serve config file, as for `serve deploy`")
    .addOption(new Option("--prefill <urls>", "prefill engines, separated by commas").argParser(urlList))
    .addOption(new Option("--decode <urls>", "decode engines, separated by commas").argParser(urlList))
    .addOption(
      new Option("--endpoints <urls>", "engines of a config file's model that is not split").argParser(
        urlList,
      ),
    )
    .addOption(portOption().default(undefined, "the file's, else 8000"))
    .addOption(hostOption().default(undefined, "the file's, else 127.0.0.1"))
    .option("--model <id>", "model the engines serve (default: they are asked)")
    .option("--kv-connector <name>", "the engines' KV connector (default: NixlConnector)")
    .addOption(
      new Option(
        "--kv-lease-ms <ms>",
        "how long prefill engines keep KV for decode (default: 30000)",
      ).argParser(milliseconds),
    )
    .option("--api-key-env <name>", "environment variable with the engines' API key")
    .addOption(
      new Option("--grace-ms <ms>", "time running requests get when it is stopped")
        .argParser(nonNegative)
        .default(20_000),
    )
    .addOption(dashboardOption())
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
It stops on Ctrl-C or SIGTERM: new requests are refused, running ones may finish. A second Ctrl-C ends it at once.

Examples:
  $ serve-llm run --prefill http://p0:8000,http://p1:8000 --decode http://d0:8000
  $ serve-llm run serve.yaml --prefill http://p0:8000 --decode http://d0:8000 --port 9000
  $ serve-llm run --prefill http://p0:8000 --decode http://d0:8000 --api-key-env VLLM_API_KEY`,
    )
    .action(serveEngines);
}

async function serveEngines(file: string | undefined, options: RunCommandOptions): Promise<void> {
  const log = new CliLog(options.json);
  const apiKey = options.apiKeyEnv === undefined ? undefined : apiKeyFrom(options.apiKeyEnv);
  const config =
    file === undefined ? await configOf(options, apiKey, log) : configFrom(file, options, apiKey);
  for (const note of config.notes) log.warn(note);
  for (const { app } of config.applications) app.withEnvironment({ warn: (message) => log.warn(message) });
  const stop = stopSignal();
  const stopLog = logRequests(log);
  try {
    const host = options.host ?? config.http.host ?? "127.0.0.1";
    const port = options.port ?? config.http.port ?? 8000;
    const { dashboard: prefix } = options;
    if (prefix !== undefined) {
      for (const { app, name: title } of config.applications)
        mountDashboard(app, { prefix, title, host, log });
    }
    const running = await runConfig(config, { host, port }).catch((error: unknown) => {
      throw listenError(error, host, port);
    });
    for (const { name, routePrefix } of config.applications) {
      const url = routePrefix === null ? null : `${running.url}${routePrefix.replace(/\/+$/, "")}`;
      log.info("listening", url === null ? `${name} runs, without HTTP` : `${name} is served on ${url}`, {
        application: name,
        url,
        port: running.port,
        dashboard: url === null || prefix === undefined ? null : url + prefix,
      });
      if (url !== null && prefix !== undefined && !log.json)
        log.info("dashboard", `  status page: ${url}${prefix}`);
    }
    const signal = await stop.received;
    log.info(
      "stopping",
      `Stopping (${signal}): running requests have ${options.graceMs / 1000} s to finish`,
      { signal },
    );
    await running.shutdown({ graceMs: options.graceMs });
    log.info("stopped", "Stopped");
  } finally {
    stopLog();
    stop.dispose();
  }
}

function configFrom(file: string, options: RunCommandOptions, apiKey: string | undefined): LoadedConfig {
  for (const [flag, value] of [
    ["--model", options.model],
    ["--kv-connector", options.kvConnector],
    ["--kv-lease-ms", options.kvLeaseMs],
  ] as const) {
    if (value !== undefined) throw misused(`${flag} stands in the config file (${file}); leave it out here.`);
  }
  const { prefill, decode, endpoints } = options;
  return loadConfig(file, { prefill, decode, endpoints, apiKey });
}

async function configOf(
  options: RunCommandOptions,
  apiKey: string | undefined,
  log: CliLog,
): Promise<LoadedConfig> {
  const { prefill, decode, endpoints, kvLeaseMs } = options;
  if (endpoints !== undefined)
    throw misused("--endpoints goes with a config file; use --prefill and --decode.");
  if (prefill === undefined || decode === undefined) {
    throw misused(
      "Say where the engines are: --prefill URL,URL --decode URL,URL. To try without engines: serve-llm demo.",
    );
  }
  const sides = [
    { option: "--prefill", urls: prefill },
    { option: "--decode", urls: decode },
  ] as const;
  const model = options.model ?? (await servedModel(sides, apiKey, (message) => log.warn(message)));
  const { kvConnector } = options;
  const app = urlApp({ model, prefill, decode, kvConnector, kvLeaseMs, apiKey });
  return {
    applications: [{ name: model, routePrefix: "/", importPath: "serve-llm:buildPdOpenaiApp", app }],
    http: { host: undefined, port: undefined, rootPath: "", keepAliveTimeoutMs: undefined },
    notes: app.notes(),
  };
}

function misused(message: string): CliError {
  return new CliError(message, { exitCode: 2 });
}

/** One line for each request that is over, for machines. */
function logRequests(log: CliLog): () => void {
  if (!log.json) return () => undefined;
  const listener = (trace: unknown): void => {
    log.info("request", "A request is over", { trace });
  };
  channels.request.subscribe(listener);
  return () => channels.request.unsubscribe(listener);
}
