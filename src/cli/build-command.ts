import { Command, Option } from "commander";

import { exportConfig, type LoadedConfig, loadConfig } from "../builders/load-config.ts";
import type { VllmCommand } from "../config/vllm-command-line.ts";
import type { ExportedEngines } from "../serve/serve-export.ts";
import { yamlText } from "../serve/yaml-text.ts";
import { CliError } from "./cli-error.ts";
import { CliLog } from "./cli-log.ts";
import { urlList } from "./option-values.ts";

interface BuildCommandOptions {
  readonly target: "ray" | "rayservice" | "vllm";
  readonly prefill?: readonly string[] | undefined;
  readonly decode?: readonly string[] | undefined;
  readonly endpoints?: readonly string[] | undefined;
  readonly application?: string | undefined;
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
  readonly image?: string | undefined;
  readonly json: boolean;
}

/** `serve-llm build`: what runs the same application on Ray, on Kubernetes, or engine by engine. */
export function buildCommand(): Command {
  return new Command("build")
    .summary("write a config for Ray, a RayService, or vllm serve commands")
    .description(
      "Reads a Ray Serve config file and writes what runs the same engines elsewhere, on the standard output:\n" +
        "  ray         the file `serve deploy` takes, without what only this library has\n" +
        "  rayservice  a KubeRay manifest (ray.io/v1 RayService) with it in serveConfigV2\n" +
        "  vllm        one `vllm serve` command for each engine; secrets are left to your environment",
    )
    .argument("<serve.yaml>", "Ray Serve config file")
    .addOption(
      new Option("-t, --target <target>", "what to write")
        .choices(["ray", "rayservice", "vllm"])
        .makeOptionMandatory(),
    )
    .option("--application <name>", "only this application of the file (default: all)")
    .option("--name <name>", "name of the RayService (default: the application's)")
    .option("--namespace <name>", "namespace of the RayService")
    .option("--image <image>", "image with Ray and vLLM for the RayService")
    .addOption(new Option("--prefill <urls>", "where the prefill engines will be").argParser(urlList))
    .addOption(new Option("--decode <urls>", "where the decode engines will be").argParser(urlList))
    .addOption(
      new Option("--endpoints <urls>", "where the engines of a model that is not split will be").argParser(
        urlList,
      ),
    )
    .option("--json", "write JSON instead of YAML or shell commands", false)
    .addHelpText(
      "after",
      `
Examples:
  $ serve-llm build --target ray serve.yaml > ray.yaml && serve deploy ray.yaml
  $ serve-llm build --target rayservice serve.yaml --name llm --namespace prod | kubectl apply -f -
  $ serve-llm build --target vllm serve.yaml --prefill http://10.0.0.1:8000 --decode http://10.0.0.2:8000`,
    )
    .action(build);
}

function build(file: string, options: BuildCommandOptions): void {
  const log = new CliLog(options.json);
  const { prefill, decode, endpoints } = options;
  refuseMisused(options);
  const loaded = loadConfig(file, { prefill, decode, endpoints });
  const applications = chosenApplications(loaded, options.application);
  switch (options.target) {
    case "ray":
      write(rayDocument(file, applications, options.application), options.json);
      return;
    case "rayservice": {
      const [application, ...others] = applications;
      if (application === undefined || others.length > 0) {
        throw new CliError(
          `A RayService is written for one application; say which with --application: ${names(loaded)}.`,
          { exitCode: 2 },
        );
      }
      const { name = resourceName(application.name), namespace, image } = options;
      write(application.app.toRayService({ name, namespace, image }), options.json);
      return;
    }
    case "vllm":
      writeCommands(applications, options.json, log);
  }
}

type Applications = LoadedConfig["applications"];

function rayDocument(file: string, applications: Applications, only: string | undefined): unknown {
  if (only === undefined) return exportConfig(file);
  return { ...exportConfig(file), applications: applications.map(({ app }) => app.exportable.application()) };
}

function chosenApplications(loaded: LoadedConfig, name: string | undefined): Applications {
  if (name === undefined) return loaded.applications;
  const found = loaded.applications.filter((application) => application.name === name);
  if (found.length > 0) return found;
  throw new CliError(`The file has no application "${name}"; it has ${names(loaded)}.`, { exitCode: 2 });
}

function names({ applications }: LoadedConfig): string {
  return applications.map(({ name }) => name).join(", ");
}

/** A name Kubernetes takes. */
function resourceName(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "");
}

function write(document: unknown, json: boolean): void {
  process.stdout.write(json ? `${JSON.stringify(document, null, 2)}\n` : yamlText(document));
}

interface EngineCommand {
  readonly application: string;
  readonly deployment: string;
  readonly role: "prefill" | "decode" | undefined;
  readonly rank: number;
  readonly command: VllmCommand;
}

function writeCommands(applications: Applications, json: boolean, log: CliLog): void {
  const gpus = new Map<string, number>();
  const commands = applications.flatMap(({ name, app }) =>
    app.exportable.engines.flatMap((engines) => commandsOf(name, engines, gpus)),
  );
  const notes = new Set(commands.flatMap(({ command }) => command.notes));
  for (const note of notes) log.warn(note);
  if (json) {
    const shown = commands.map(({ command, ...engine }) => ({ ...engine, ...command.toJSON() }));
    process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
    return;
  }
  const scripts = commands.map(
    ({ application, deployment, rank, command }) =>
      `# ${application}: ${deployment}, engine ${rank}\n${command.toShell()}\n`,
  );
  process.stdout.write(scripts.join("\n"));
}

/** One command for each engine: as many as there are endpoints, else as many as the configuration asks for. */
function commandsOf(
  application: string,
  { deployment, role, config, replicas }: ExportedEngines,
  gpus: Map<string, number>,
): readonly EngineCommand[] {
  const endpoints = Array.isArray(config.endpoints)
    ? (config.endpoints as readonly { url: string }[])
    : undefined;
  const count = endpoints?.length ?? Math.max(1, replicas);
  return Array.from({ length: count }, (_, rank): EngineCommand => {
    const url = endpoints?.[rank]?.url;
    // Engines that are known to share a host get the next of its GPUs.
    const host = url === undefined ? undefined : new URL(url).hostname;
    const gpuOffset = host === undefined ? undefined : (gpus.get(host) ?? 0);
    const command = config.toVllmCommand({ role, rank, gpuOffset });
    const taken = command.env["CUDA_VISIBLE_DEVICES"]?.split(",").length ?? 0;
    if (host !== undefined) gpus.set(host, (gpuOffset ?? 0) + taken);
    return { application, deployment, role, rank, command };
  });
}

function refuseMisused({ target, name, namespace, image }: BuildCommandOptions): void {
  for (const [flag, value] of Object.entries({ name, namespace, image })) {
    if (value === undefined || target === "rayservice") continue;
    throw new CliError(`--${flag} goes with --target rayservice.`, { exitCode: 2 });
  }
}
