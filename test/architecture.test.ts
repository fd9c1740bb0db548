import { readdirSync, readFileSync } from "node:fs";
import { basename, join, posix, relative, sep } from "node:path";
import { describe, expect, it } from "vitest";
import { analyse, folderOf, type SourceFacts } from "./source-facts.ts";

/** A file imports from its own folder and from lower rungs: never up, never sideways. */
const rungs: Readonly<Record<string, number>> = {
  errors: 0,
  internal: 0,
  config: 1,
  protocol: 1,
  observability: 1,
  routing: 2,
  "kv-transfer": 2,
  replicas: 3,
  discovery: 3,
  autoscaling: 3,
  adapters: 3,
  // What adds or removes engines: behind a port of config, used by the application alone.
  "scaling-targets": 4,
  kubernetes: 4,
  serve: 4,
  llm: 5,
  ingress: 6,
  builders: 7,
  // Ways to use the library from outside, one beside the other: doctor sends requests through the builders, the
  // dashboard watches an application.
  doctor: 8,
  benchmark: 8,
  dashboard: 8,
  cli: 9,
  // May import anything; only the cli may import it.
  testing: 10,
};

/** Imports within a rung that are allowed, and why. */
const sidewaysExceptions: Readonly<Record<string, string>> = {
  "internal -> errors": "a cancel token carries the typed error that it was cancelled with",
};

/** Imports against the ladder that are allowed, and why. */
const upwardExceptions: Readonly<Record<string, string>> = {
  "config -> kv-transfer": "LLMConfig.toVllmCommand sets up an engine's KV transfer, as Ray's LLMConfig does",
  "cli -> testing": "the demo command serves mock engines",
};

const pureFolders = ["protocol", "routing", "kv-transfer"];
const pureFiles = ["autoscaling/autoscaling-policy.ts"];

const undiciImporters = ["replicas/endpoint-client.ts", "replicas/endpoint-connections.ts"];
const environmentReaders = ["config/environment.ts"];
/** Folders that own time and randomness, or are no part of the library that runs in production. */
const clockOwners = ["internal", "cli", "testing"];
/** Runs in a browser, where nothing of the house is: it has the browser's timers, and imports only itself. */
const browserCode = "dashboard/page/";
/** What the browser's code may import beside itself. */
const browserImports = ["uplot", "../page-message.ts"];

const maxLines = 350;

/** What the package exports; nothing else may gather the names of others. */
const entryPoints = ["index.ts", "testing/index.ts", "kubernetes/index.ts"];

describe("the ladder", () => {
  it("knows every folder", () => {
    expect(sources.length).toBeGreaterThan(50);
    expect(
      violations((source) =>
        source.folder === "" || source.folder in rungs ? [] : [`no rung for ${source.folder}/`],
      ),
    ).toEqual([]);
  });

  it("is climbed by no import", () => {
    expect(violations((source) => (source.isTest ? [] : ladderViolations(source)))).toEqual([]);
  });

  it("has no two folders that import each other", () => {
    const edges = new Set(
      production.flatMap((source) =>
        localTargets(source).map((target) => `${source.folder} -> ${folderOf(target)}`),
      ),
    );
    const twoWay = [...edges].filter((edge) => {
      const [from, to] = edge.split(" -> ");
      return from !== to && edges.has(`${to} -> ${from}`);
    });
    expect(twoWay).toEqual([]);
  });

  it("has no exception that nothing needs", () => {
    const edges = new Set(
      production.flatMap((source) =>
        localTargets(source).map((target) => `${source.folder} -> ${folderOf(target)}`),
      ),
    );
    const needed = Object.keys(sidewaysExceptions).filter((edge) => edges.has(edge));
    expect(needed).toEqual(Object.keys(sidewaysExceptions));
  });

  it("leaves the tests of one folder to that folder, lower ones and the mocks", () => {
    expect(
      violations((source) =>
        source.isTest && source.folder !== "testing"
          ? localTargets(source)
              .map(folderOf)
              .filter(
                (folder) =>
                  folder !== "testing" && (rungs[folder] ?? Infinity) > (rungs[source.folder] ?? Infinity),
              )
              .map((folder) => `test imports ${folder}/`)
          : [],
      ),
    ).toEqual([]);
  });
});

describe("imports", () => {
  it("are relative with .ts, or name a package; Node's own modules with node:", () => {
    expect(
      violations((source) => source.imports.filter((specifier) => !isWellFormedSpecifier(specifier))),
    ).toEqual([]);
  });

  it("of undici stay in one place", () => {
    expect(
      violations((source) =>
        allowsUndici(source) ? [] : source.imports.filter((specifier) => /^undici(\/|$)/.test(specifier)),
      ),
    ).toEqual([]);
  });

  it("of the page that runs in browsers are its own, its messages' types and its chart library", () => {
    const browser = sources.filter(({ path }) => path.startsWith(browserCode));
    expect(browser.length).toBeGreaterThan(5);
    expect(
      browser.flatMap(({ path, imports }) =>
        imports
          .filter((specifier) => !specifier.startsWith("./") && !browserImports.includes(specifier))
          .map((specifier) => `${path}: ${specifier}`),
      ),
    ).toEqual([]);
  });
});

describe("what a file may touch", () => {
  it("pure folders have no Node modules, clock, timers, randomness or process", () => {
    expect(
      violations((source) =>
        isPure(source)
          ? [
              ...source.imports.filter((specifier) => specifier.startsWith("node:")),
              ...source.clockUses,
              ...source.processUses,
            ]
          : [],
      ),
    ).toEqual([]);
    for (const file of pureFiles) expect(sources.map((source) => source.path)).toContain(file);
  });

  it("time and randomness come from internal/", () => {
    expect(
      violations((source) =>
        source.isTest || clockOwners.includes(source.folder) || source.path.startsWith(browserCode)
          ? []
          : source.clockUses,
      ),
    ).toEqual([]);
  });

  it("process.env is read in one file", () => {
    expect(
      violations((source) =>
        source.isTest || environmentReaders.includes(source.path)
          ? []
          : source.processUses.filter((use) => use === "process.env" || use === "process"),
      ),
    ).toEqual([]);
  });

  it("process-level handlers are the command's alone", () => {
    const handlers = new Set(["process.on", "process.once", "process.addListener", "process.exit"]);
    expect(
      violations((source) =>
        source.isTest || source.folder === "cli" ? [] : source.processUses.filter((use) => handlers.has(use)),
      ),
    ).toEqual([]);
  });
});

describe("files", () => {
  it("have no default exports, enums, namespaces, star exports or any", () => {
    expect(violations((source) => source.forbiddenSyntax)).toEqual([]);
  });

  it(`have at most ${maxLines} lines`, () => {
    expect(
      violations((source) => (source.isTest || source.lines <= maxLines ? [] : [`${source.lines} lines`])),
    ).toEqual([]);
  });

  it("have kebab-case names that say what is in them", () => {
    expect(violations((source) => nameViolations(source.path))).toEqual([]);
  });
});

describe("this test", () => {
  it("sees what it forbids", () => {
    const source = analyse(
      "routing/sample.ts",
      `
        import { a } from "./a.ts";
        import type { B } from "../serve/b.ts";
        export * from "../errors/c.ts";
        export { d } from "node:fs";
        import { randomUUID } from "node:crypto";
        type E = import("./e.ts").E;
        const lazy = () => import("undici");
        export default class {}
        enum Colour { red }
        namespace Space {}
        let loose: any;
        Date.now(); new Date(); new Date(5); Math.random(); Math.max(1); performance.now(); crypto.randomUUID();
        setTimeout(() => {}, 1); const later = setInterval; clock.setTimeout(1); globalThis.setImmediate(f);
        process.env.HOME; process.on("exit", f); const { env } = process;
        // setTimeout(comment), process.env
        interface Timers { setTimeout(): void; readonly process: string }
      `,
    );
    expect(source.imports).toEqual([
      "./a.ts",
      "../serve/b.ts",
      "../errors/c.ts",
      "node:fs",
      "node:crypto",
      "./e.ts",
      "undici",
    ]);
    expect(source.forbiddenSyntax).toEqual(["export *", "default export", "enum", "namespace", "any"]);
    expect(source.clockUses).toEqual([
      "randomUUID",
      "Date.now",
      "new Date()",
      "Math.random",
      "performance",
      "crypto",
      "setTimeout",
      "setInterval",
      "setImmediate",
    ]);
    expect(source.processUses).toEqual(["process.env", "process.on", "process"]);
    expect(ladderViolations(source)).toEqual(["routing (2) imports serve (4): ../serve/b.ts"]);
    expect(nameViolations("routing/utils.ts")).toHaveLength(1);
    expect(nameViolations("routing/index.ts")).toHaveLength(1);
    expect(nameViolations("routing/RoundRobin.ts")).toHaveLength(1);
    expect(nameViolations("routing/round-robin.test.ts")).toEqual([]);
  });
});

function violations(check: (source: SourceFacts) => readonly string[]): string[] {
  return sources.flatMap((source) => check(source).map((problem) => `${source.path}: ${problem}`));
}

function ladderViolations(source: SourceFacts): string[] {
  if (source.folder === "testing") return [];
  return source.imports
    .filter((specifier) => specifier.startsWith("."))
    .flatMap((specifier) => {
      const target = folderOf(posix.join(posix.dirname(source.path), specifier));
      if (target === source.folder) return [];
      const edge = `${source.folder} -> ${target}`;
      const own = source.folder === "" ? 9 : (rungs[source.folder] ?? -1);
      const other = rungs[target] ?? Infinity;
      const allowed = other < own || (other === own ? edge in sidewaysExceptions : edge in upwardExceptions);
      return allowed ? [] : [`${source.folder} (${own}) imports ${target} (${other}): ${specifier}`];
    });
}

/** What a file imports from `src/`, as paths from there. */
function localTargets(source: SourceFacts): string[] {
  return source.imports
    .filter((specifier) => specifier.startsWith("."))
    .map((specifier) => posix.join(posix.dirname(source.path), specifier));
}

function isPure(source: SourceFacts): boolean {
  return !source.isTest && (pureFolders.includes(source.folder) || pureFiles.includes(source.path));
}

function allowsUndici(source: SourceFacts): boolean {
  return source.isTest || source.folder === "testing" || undiciImporters.includes(source.path);
}

function isWellFormedSpecifier(specifier: string): boolean {
  if (specifier.startsWith(".")) return /\.(ts|json)$/.test(specifier);
  return specifier.startsWith("node:") || !nodeModules.has(specifier.split("/")[0] as string);
}

function nameViolations(path: string): string[] {
  const name = basename(path);
  if (!/^[a-z0-9]+(-[a-z0-9]+)*(\.(test|fixture))?\.ts$/.test(name)) return ["not kebab-case"];
  if (/^(utils?|helpers?|types?|common|misc)\.ts$/.test(name)) return ["says nothing about what is in it"];
  if (name === "index.ts" && !entryPoints.includes(path)) return ["is a barrel"];
  return [];
}

// Builtins that code could import without the node: prefix.
const nodeModules = new Set([
  "fs",
  "path",
  "http",
  "https",
  "net",
  "tls",
  "os",
  "url",
  "util",
  "stream",
  "events",
  "buffer",
  "crypto",
  "timers",
  "dns",
  "child_process",
  "worker_threads",
  "zlib",
  "assert",
  "process",
]);

const root = join(import.meta.dirname, "..", "src");
const sources: readonly SourceFacts[] = readdirSync(root, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
  .map((entry) => join(entry.parentPath, entry.name))
  .sort()
  .map((path) => analyse(relative(root, path).split(sep).join("/"), readFileSync(path, "utf8")));
const production = sources.filter((source) => !source.isTest);
