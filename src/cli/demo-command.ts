import { Command, Option } from "commander";

import { run } from "../serve/run.ts";
import { CliError, listenError } from "./cli-error.ts";
import { CliLog } from "./cli-log.ts";
import { DemoEngines, type KvBalance } from "./demo-engines.ts";
import { demoTraffic, steadyTraffic } from "./demo-traffic.ts";
import { liveView } from "./live-view.ts";
import { dashboardOption, mountDashboard } from "./mount-dashboard.ts";
import { addMockOptions, type MockBehaviour } from "./mock-options.ts";
import { hostOption, jsonOption, portOption, wholeNumber } from "./option-values.ts";
import { stopSignal } from "./stop-signal.ts";
import { urlApp } from "./url-app.ts";

interface DemoCommandOptions extends MockBehaviour {
  readonly port: number;
  readonly host: string;
  readonly prefills: number;
  readonly decodes: number;
  readonly once?: number | undefined;
  readonly rate?: number | undefined;
  readonly dashboard?: string | undefined;
  readonly json: boolean;
}

const model = "demo-model";

/** `serve-llm demo`: everything in one process. */
export function demoCommand(): Command {
  const command = new Command("demo")
    .summary("the application over mock engines, to try it")
    .description(
      "Starts mock prefill and decode engines on real ports and the application in front of them,\n" +
        "prints a curl line to try, and shows the requests as they run. Needs no GPU and no network.",
    )
    .addOption(portOption(8000))
    .addOption(hostOption())
    .addOption(new Option("--prefills <count>", "prefill engines").argParser(wholeNumber(1)).default(2))
    .addOption(new Option("--decodes <count>", "decode engines").argParser(wholeNumber(1)).default(2))
    .addOption(
      new Option("--once <count>", "send so many requests itself, check the answers, and exit").argParser(
        wholeNumber(1),
      ),
    )
    .addOption(
      new Option("--rate <count>", "send so many requests a second itself, to have something to see")
        .argParser(wholeNumber(1))
        .conflicts("once"),
    )
    .addOption(dashboardOption());
  return addMockOptions(command, { ttftMs: 20, itlMs: 25, prefillMsPerToken: 0.5 })
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Examples:
  $ serve-llm demo --port 0                  any free port
  $ serve-llm demo --once 100 --itl-ms 0     check itself and exit
  $ serve-llm demo --dashboard --rate 10     the status page, with something to see`,
    )
    .action(serveDemo);
}

async function serveDemo(options: DemoCommandOptions): Promise<void> {
  const log = new CliLog(options.json);
  const engines = new DemoEngines(options, model, options);
  const stop = stopSignal();
  let balance = engines.balance();
  let stopView: () => void = () => undefined;
  let stopTraffic: () => Promise<void> = async () => undefined;
  try {
    await engines.start();
    const { kvLeaseMs } = options;
    const app = urlApp({ model, ...engines.urls, kvLeaseMs }).withEnvironment({
      warn: (message) => log.warn(message),
    });
    const { dashboard: prefix, host, rate } = options;
    if (prefix !== undefined) mountDashboard(app, { prefix, title: model, host, log });
    const running = await run(app, { port: options.port, host: options.host }).catch((error: unknown) => {
      throw listenError(error, options.host, options.port);
    });
    try {
      log.info("listening", invitation(running.url, engines, options), {
        url: running.url,
        port: running.port,
        model,
        dashboard: prefix === undefined ? null : running.url + prefix,
      });
      if (!log.json) stopView = liveView(() => describe(running.app.status(), engines));
      if (rate !== undefined) {
        stopTraffic = steadyTraffic(running.url, model, rate, (reason) => log.warn(reason));
      }
      if (options.once === undefined) await stop.received;
      else await Promise.race([demoTraffic(running.url, model, options.once), stop.received]);
    } finally {
      stopView();
      await stopTraffic();
      await running.shutdown();
    }
  } finally {
    stop.dispose();
    // A decode that ended with its client's request gives its KV back a moment later.
    await engines.settle();
    balance = engines.balance();
    await engines.stop();
  }
  reportBalance(balance, log, options.once !== undefined);
}

function invitation(url: string, engines: DemoEngines, options: DemoCommandOptions): string {
  const curl = (fields: string, flags = ""): string =>
    `  curl ${flags}${url}/v1/chat/completions -H 'content-type: application/json' \\\n` +
    `    -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello!"}]${fields}}'`;
  return [
    `serve-llm demo: ${model} on ${url}`,
    `  prefill  ${engines.urls.prefill.join("  ")}`,
    `  decode   ${engines.urls.decode.join("  ")}`,
    "",
    "Try it:",
    curl(""),
    "streaming:",
    curl(', "stream": true', "-N "),
    ...(options.dashboard === undefined ? [] : ["", `Status page:  ${url}${options.dashboard}`]),
    ...(options.once === undefined ? ["", "Ctrl-C stops it.", ""] : [""]),
  ].join("\n");
}

interface DemoStatus {
  readonly inFlight: number;
  readonly deployments: Readonly<
    Record<string, { readonly details?: Readonly<Record<string, unknown>> | undefined }>
  >;
}

function describe(status: DemoStatus, engines: DemoEngines): string {
  const counts = status.deployments["PDProxyServer"]?.details?.["pdHealth"] as
    | { readonly requests: number }
    | undefined;
  const { prefill, decode } = engines.running();
  const { issued, consumed, open } = engines.balance();
  return (
    `${counts?.requests ?? 0} requests | ${status.inFlight} running | prefill ${prefill.join("+")} | ` +
    `decode ${decode.join("+")} | KV ${issued} issued, ${consumed} consumed, ${open} open`
  );
}

function reportBalance(balance: KvBalance, log: CliLog, once: boolean): void {
  const { issued, consumed, unused, open, refused } = balance;
  const balanced = open === 0 && refused === 0;
  const verdict = balanced ? "balanced" : open > 0 ? `${open} pinned until their lease ends` : "NOT balanced";
  log.info(
    "stopped",
    `KV ledger: ${issued} issued, ${consumed} consumed, ${unused} unused, ${refused} refused: ${verdict}`,
    { kv: balance, balanced },
  );
  if (once && !balanced) throw new CliError("The KV ledger is not balanced.");
}
