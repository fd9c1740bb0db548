import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { build, type Options } from "tsup";
import published from "../tsup.config.ts";
import type { BenchOptions } from "./options.ts";

/** Everything that is made before measuring. */
export interface Built {
  /** Where files of a run go; not in git. */
  readonly directory: string;
  /** The library under test: a built `index.js`. */
  readonly library: string;
  /** Compiled engine and load tools, or the Node ones. */
  readonly tools: "c" | "node";
  /** Command line that starts an engine or a load tool, before its arguments. */
  readonly tool: (name: "engine" | "load") => readonly string[];
  /** Compiled process of `bench/processes`. */
  readonly process: (name: string) => string;
}

const root = resolve(import.meta.dirname, "..");
const processNames = [
  "echo-server",
  "one-hop-proxy",
  "two-hop-proxy",
  "serve-llm-proxy",
  "body-work",
  "routing-work",
  "engine",
  "load",
];

/** Builds the library as it is published, the processes around it, and the C tools when there is a compiler. */
export async function buildAll(options: BenchOptions): Promise<Built> {
  const directory = join(root, "bench/.out");
  mkdirSync(directory, { recursive: true });
  const common = { target: "node20", platform: "node", format: "esm", silent: true, config: false } as const;
  const processDirectory = join(directory, "processes");
  rmSync(processDirectory, { recursive: true, force: true });
  await build({
    ...common,
    entry: Object.fromEntries(
      processNames.map((name) => [name, join(root, "bench/processes", `${name}.ts`)]),
    ),
    outDir: processDirectory,
  });
  let library = options.dist === undefined ? undefined : join(resolve(options.dist), "index.js");
  if (library === undefined) {
    const libraryDirectory = join(directory, "dist");
    rmSync(libraryDirectory, { recursive: true, force: true });
    await build({
      ...publishedBuild(),
      ...common,
      entry: { index: join(root, "src/index.ts") },
      outDir: libraryDirectory,
      dts: false,
    });
    library = join(libraryDirectory, "index.js");
  }
  if (!existsSync(library)) throw new Error(`There is no build of serve-llm at ${library}.`);
  const tools = !options.nodeTools && compileTools(directory) ? "c" : "node";
  const process_ = (name: string): string => join(processDirectory, `${name}.js`);
  return {
    directory,
    library,
    tools,
    tool: (name) => (tools === "c" ? [join(directory, name)] : [process.execPath, process_(name)]),
    process: process_,
  };
}

/** How the package is built: what is measured must be what users get. */
function publishedBuild(): Options {
  const configs = [published].flat().filter((config) => typeof config === "object");
  const config = configs.find(({ entry }) => typeof entry === "object" && "index" in entry);
  if (config === undefined) throw new Error("tsup.config.ts builds no index.");
  return config;
}

function compileTools(directory: string): boolean {
  const compiler = ["cc", "gcc", "clang"].find((name) => runs(name, ["--version"]));
  if (compiler === undefined) return false;
  return ["engine", "load"].every((name) =>
    runs(compiler, ["-O2", "-o", join(directory, name), join(root, "bench/native", `${name}.c`)]),
  );
}

function runs(command: string, args: readonly string[]): boolean {
  try {
    execFileSync(command, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
