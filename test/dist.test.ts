import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type InstalledPackage, installPackage, manifest, root } from "./support/installed-package.ts";

const typescript = join(root, "node_modules", "typescript", "bin", "tsc");

/** Every entry point: what package.json exports, as a user names it, without the manifest itself. */
const entries = Object.keys(manifest.exports)
  .filter((path) => path !== "./package.json")
  .map((path) => path.replace(/^\./, "serve-llm"));

/** A public name of each, which is a function. */
const nameOf: Readonly<Record<string, string>> = {
  "serve-llm": "buildPdOpenaiApp",
  "serve-llm/testing": "MockVLLMEngine",
  "serve-llm/kubernetes": "kubernetesScaleTarget",
  "serve-llm/opentelemetry": "traceRequests",
  "serve-llm/dashboard": "dashboard",
};

/** The others work without any peer. */
const needsPeers = new Set(["serve-llm/kubernetes", "serve-llm/opentelemetry"]);

let installed: InstalledPackage;
/** With the optional peers, which some entries need. */
let complete: InstalledPackage;
let folder = "";
let files: readonly string[] = [];

beforeAll(() => {
  installed = installPackage();
  complete = installPackage(Object.keys(manifest.peerDependencies));
  ({ folder, files } = installed);
});

afterAll(() => {
  installed[Symbol.dispose]();
  complete[Symbol.dispose]();
});

function run(command: string, args: readonly string[], cwd = folder): string {
  try {
    return execFileSync(command, args, { cwd, encoding: "utf8", stdio: "pipe" });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${command} ${args.join(" ")} failed:\n${stdout}${stderr}`, { cause: error });
  }
}

function runScript(name: string, text: string, cwd = folder): string {
  writeFileSync(join(cwd, name), text);
  return run(process.execPath, [name], cwd);
}

describe("the package", () => {
  it("has what it needs, and no sources or tests", () => {
    expect(files).toEqual(
      expect.arrayContaining(["LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "dist/cli.js"]),
    );
    expect(
      files.filter(
        (path) =>
          !/^(dist\/|LICENSE(-THIRD-PARTY)?$|(README|CHANGELOG|SECURITY)\.md$|package\.json)/.test(path),
      ),
    ).toEqual([]);
    expect(files.filter((path) => /\.test\./.test(path))).toEqual([]);
  });

  it("runs nothing when it is installed, and neither do its dependencies", () => {
    const hooks = ["preinstall", "install", "postinstall", "prepublish", "prepare"];
    expect(hooks.filter((hook) => hook in manifest.scripts)).toEqual([]);
    const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
      packages: Record<string, { dev?: boolean; optional?: boolean; hasInstallScript?: boolean }>;
    };
    const production = Object.entries(lock.packages).filter(([, { dev }]) => dev !== true);
    expect(production.length).toBeGreaterThan(Object.keys(manifest.dependencies).length);
    expect(production.filter(([, entry]) => entry.hasInstallScript === true)).toEqual([]);
  });

  it("names no machine", () => {
    for (const path of files.filter((each) => /\.(c?js|d\.c?ts|json|md)$/.test(each))) {
      const text = readFileSync(join(folder, "node_modules", "serve-llm", path), "utf8");
      expect(text.includes(root), path).toBe(false);
    }
  });
});

describe.each([
  ["ESM", "mjs", (entry: string) => `await import(${JSON.stringify(entry)})`],
  ["CommonJS", "cjs", (entry: string) => `require(${JSON.stringify(entry)})`],
] as const)("imported as %s", (_, extension, load) => {
  it("gives the public names", () => {
    const output = runScript(
      `names.${extension}`,
      `const main = ${load("serve-llm")};
       const testing = ${load("serve-llm/testing")};
       const { version } = ${extension === "cjs" ? load("serve-llm/package.json") : `(${load("node:module")}).createRequire(import.meta.url)("serve-llm/package.json")`};
       console.log(JSON.stringify({
         kinds: [main.LLMConfig, main.buildPdOpenaiApp, main.serve.run, main.PDProxyServer, testing.MockVLLMEngine].map((x) => typeof x),
         // Deployments are named after their classes, so bundling must not rename them.
         names: [main.PDProxyServer.name, main.LLMServer.name, main.OpenAiIngress.name, main.ConfigurationError.name],
         version,
       }));`,
    );
    expect(JSON.parse(output)).toEqual({
      kinds: ["function", "function", "function", "function", "function"],
      names: ["PDProxyServer", "LLMServer", "OpenAiIngress", "ConfigurationError"],
      version: manifest.version,
    });
  });

  it.each(entries)("%s gives a public name", (entry) => {
    const name = nameOf[entry];
    expect(name, `${entry} has no line in nameOf`).toBeDefined();
    expect(
      runScript(
        `entry.${extension}`,
        `const entry = ${load(entry)}; console.log(typeof entry.${name});`,
        complete.folder,
      ),
    ).toBe("function\n");
  });

  it.each(entries)("%s starts nothing", (entry) => {
    // That it ends by itself shows that nothing keeps the process alive.
    const output = runScript(
      `quiet.${extension}`,
      `const listeners = process.eventNames().map((name) => [String(name), process.listenerCount(name)]);
       const busy = /Timeout|Immediate|TCP|UDP|TLS|Pipe|Worker|Signal|Process/;
       const resources = () => process.getActiveResourcesInfo().filter((name) => busy.test(name)).sort();
       // Both are made when they are first looked at.
       void [process.stdout, process.stderr];
       const before = resources();
       ${load(entry)};
       const after = process.eventNames().map((name) => [String(name), process.listenerCount(name)]);
       console.log(JSON.stringify({ listeners: [listeners, after], resources: [before, resources()] }));`,
      needsPeers.has(entry) ? complete.folder : folder,
    );
    const { listeners, resources } = JSON.parse(output) as Record<
      "listeners" | "resources",
      [unknown, unknown]
    >;
    expect(listeners[1]).toEqual(listeners[0]);
    expect(resources[1]).toEqual(resources[0]);
  });
});

describe("types", () => {
  const source = `
    import { buildPdOpenaiApp, LLMConfig, serve, ServeLLMError, type ChatCompletion, type ChatCompletionChunk } from "serve-llm";
    import { FakeClock, MockVLLMEngine } from "serve-llm/testing";
    import { traceRequests } from "serve-llm/opentelemetry";
    import { dashboard } from "serve-llm/dashboard";
    import { createServer } from "node:http";

    const config = new LLMConfig({
      modelLoadingConfig: { modelId: "llama-8b" },
      engineKwargs: { kv_transfer_config: { kv_connector: "NixlConnector", kv_role: "kv_both" } },
      endpoints: ["http://127.0.0.1:1"],
    });
    const app = buildPdOpenaiApp({ prefillConfig: config, decodeConfig: config });
    // @ts-expect-error Both sides are needed.
    export const broken = (): unknown => buildPdOpenaiApp({ prefillConfig: config });
    export const ray = buildPdOpenaiApp({
      prefill_config: { model_loading_config: { model_id: "m" }, engine_kwargs: { kv_transfer_config: {} }, endpoints: [] },
      decode_config: "decode.yaml",
    });
    createServer(app.handler);
    createServer(dashboard(app).handler);
    export const tracing: typeof traceRequests = traceRequests;
    export const answer: Promise<ChatCompletion> = app.handle.chat({ model: "m", messages: [] });
    export const chunks: AsyncIterable<ChatCompletionChunk> = app.handle.chat({ model: "m", messages: [], stream: true });
    export const engine = new MockVLLMEngine({ clock: new FakeClock() });
    export const port: Promise<number> = serve.run(app, { port: 0 }).then((running) => running.port);
    export const code = (error: unknown): string => (ServeLLMError.isInstance(error) ? error.code : "");
  `;

  it.each([
    ["nodenext", "nodenext", ["consumer.mts", "consumer.cts"]],
    ["esnext", "bundler", ["consumer.ts"]],
  ])("hold for module %s, resolution %s, with libraries checked", (module, moduleResolution, consumers) => {
    for (const file of consumers) writeFileSync(join(complete.folder, file), source);
    writeFileSync(
      join(complete.folder, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: {
          module,
          moduleResolution,
          target: "es2022",
          strict: true,
          noEmit: true,
          skipLibCheck: false,
          exactOptionalPropertyTypes: true,
          types: ["node"],
        },
        files: consumers,
      }),
    );
    expect(run(process.execPath, [typescript, "-p", "."], complete.folder)).toBe("");
  });
});

describe("the command", () => {
  it("runs from where it is installed", () => {
    const bin = join(folder, "node_modules", ".bin", "serve-llm");
    expect(run(bin, ["--version"])).toBe(`${manifest.version}\n`);
    const help = run(bin, ["--help"]);
    for (const name of ["run", "demo", "mock"]) {
      expect(help).toContain(name);
      expect(run(bin, ["help", name])).toContain("Examples:");
    }
  });
});
