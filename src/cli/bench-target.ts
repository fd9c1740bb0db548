import { loadConfig } from "../builders/load-config.ts";
import { runConfig } from "../builders/run-config.ts";
import { run } from "../serve/run.ts";
import { apiKeyFrom } from "./api-key.ts";
import type { BenchOptions } from "./bench-options.ts";
import { CliError } from "./cli-error.ts";
import type { CliLog } from "./cli-log.ts";
import { DemoEngines } from "./demo-engines.ts";
import { servedModel } from "./served-model.ts";
import { urlApp } from "./url-app.ts";

/** Where load goes, and how to take down what was put up for it. */
export interface BenchEndpoint {
  readonly url: string;
  readonly model: string;
  readonly apiKey: string | undefined;
  close(): Promise<void>;
}

const mockModel = "mock-model";

/**
 * The endpoint a user named, the application of a config file, or mock engines with this library in front of them.
 *
 * @throws CliError when it can't be told which model to ask for; ConfigurationError for a file that is not right
 */
export async function benchEndpoint(options: BenchOptions, log: CliLog): Promise<BenchEndpoint> {
  const { url, file } = options;
  const apiKey = options.apiKeyEnv === undefined ? undefined : apiKeyFrom(options.apiKeyEnv);
  if (file !== undefined) return fileEndpoint(file, options, apiKey, log);
  if (url === undefined) return mockEndpoint(options, log);
  const sides = [{ option: "--url", urls: [url] }] as const;
  const model = options.model ?? (await servedModel(sides, apiKey, (message) => log.warn(message)));
  return { url, model, apiKey, close: () => Promise.resolve() };
}

/** What the file describes, in this process and on a port of its own. */
async function fileEndpoint(
  file: string,
  { prefill, decode, endpoints, model }: BenchOptions,
  apiKey: string | undefined,
  log: CliLog,
): Promise<BenchEndpoint> {
  const warn = (message: string): void => log.warn(message);
  const config = loadConfig(file, { prefill, decode, endpoints, apiKey });
  for (const note of config.notes) warn(note);
  const served = config.applications.filter(({ routePrefix }) => routePrefix !== null);
  const [only] = served;
  if (only === undefined || served.length > 1) {
    throw new CliError(`${file} has ${served.length} applications with HTTP; load goes to one.`, {
      exitCode: 2,
    });
  }
  for (const { app } of config.applications) app.withEnvironment({ warn });
  const running = await runConfig(config, { port: 0, host: "127.0.0.1" });
  const close = (): Promise<void> => running.shutdown({ graceMs: 0 });
  try {
    const url = running.url + only.routePrefix!.replace(/\/+$/, "");
    const sides = [{ option: "--url", urls: [url] }] as const;
    return { url, model: model ?? (await servedModel(sides, undefined, warn)), apiKey: undefined, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function mockEndpoint(options: BenchOptions, log: CliLog): Promise<BenchEndpoint> {
  const model = options.model ?? mockModel;
  const engines = new DemoEngines(options, model, options);
  try {
    await engines.start();
    const { kvLeaseMs } = options;
    const app = urlApp({ model, ...engines.urls, kvLeaseMs }).withEnvironment({
      warn: (message) => log.warn(message),
    });
    const running = await run(app, { port: 0, name: "bench" });
    return {
      url: running.url,
      model,
      apiKey: undefined,
      async close() {
        await running.shutdown({ graceMs: 0 });
        await engines.stop();
      },
    };
  } catch (error) {
    await engines.stop();
    throw error;
  }
}
