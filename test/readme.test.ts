import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { buildCommand } from "../src/cli/build-command.ts";
import { benchCommand } from "../src/cli/bench-command.ts";
import { demoCommand } from "../src/cli/demo-command.ts";
import { doctorCommand } from "../src/cli/doctor-command.ts";
import { mockCommand } from "../src/cli/mock-command.ts";
import { runCommand } from "../src/cli/run-command.ts";

const root = join(import.meta.dirname, "..");
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".md") && !path.startsWith("api"))
    .map((path) => join("docs", path)),
];
const text = (page: string): string => readFileSync(join(root, page), "utf8");

describe.each(pages)("%s", (page) => {
  it("links to what exists", () => {
    const targets = [...text(page).matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g)].map(
      ([, target]) => target!,
    );
    expect(targets.filter((target) => !existsSync(join(root, dirname(page), target)))).toEqual([]);
  });

  it("uses commands and options that exist", () => {
    const commands = new Map(
      [runCommand(), demoCommand(), mockCommand(), doctorCommand(), benchCommand(), buildCommand()].map(
        (each) => [each.name(), each],
      ),
    );
    const problems: string[] = [];
    // A command goes on over lines that end in a backslash, and ends with its line, a comment or its code span.
    for (const [line, name, rest] of text(page).matchAll(
      /(?:npx|\$|`) ?serve-llm (\w+)((?:[^\n#`\\]|\\\n)*)/g,
    )) {
      if (name === "help") continue;
      const known = commands.get(name!)?.options.map(({ long }) => long);
      if (known === undefined) problems.push(line);
      for (const [option] of rest!.matchAll(/--[a-z-]+/g)) {
        if (known?.includes(option) === false) problems.push(`${option} in ${line}`);
      }
    }
    expect(problems).toEqual([]);
  });

  it("names npm scripts that exist", () => {
    const { scripts } = JSON.parse(text("package.json")) as {
      readonly scripts: Readonly<Record<string, string>>;
    };
    const named = [...text(page).matchAll(/^npm (?:run )?(\w+)/gm)].map(([, name]) => name!);
    expect(named.filter((name) => !["ci", "install"].includes(name) && !(name in scripts))).toEqual([]);
  });
});

/** What the pages' snippets take as given. */
const given = `
import type * as main from "serve-llm";
import type * as testing from "serve-llm/testing";
declare global {
  const http: typeof import("node:http");
  const express: typeof import("express");
  const app: main.Application<main.OpenAiIngress>;
  const messages: main.ChatMessage[];
  const prefill: testing.MockVLLMEngine;
  const decode: testing.MockVLLMEngine;
  const MockVLLMEngine: typeof testing.MockVLLMEngine;
  const FakeClock: typeof testing.FakeClock;
  const reply: string;
  function expect(value: unknown): { toBe(expected: unknown): void };
}
`;

describe("the snippets of the pages", () => {
  it("are right TypeScript", () => {
    const files = new Map<string, string>([[join(root, "test", "given.virtual.ts"), given]]);
    for (const page of pages) {
      const fences = [...text(page).matchAll(/^```ts\n(.*?)^```/gms)];
      fences.forEach(([, code], index) => {
        files.set(
          join(root, "test", `${page.replaceAll(/\W/g, "-")}.${index + 1}.virtual.ts`),
          `${code}\nexport {};\n`,
        );
      });
    }
    expect(files.size).toBeGreaterThan(5);
    expect(problemsOf(files)).toEqual([]);
  }, 60_000);
});

function problemsOf(files: ReadonlyMap<string, string>): readonly string[] {
  const { config } = ts.readConfigFile(join(root, "tsconfig.json"), (path) => ts.sys.readFile(path)) as {
    config: object;
  };
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, root);
  // Snippets declare what they do not use.
  const relaxed = { ...options, noUnusedLocals: false, noUnusedParameters: false };
  const host = ts.createCompilerHost(relaxed);
  const onDisk = { ...host };
  host.fileExists = (path) => files.has(path) || onDisk.fileExists(path);
  host.readFile = (path) => files.get(path) ?? onDisk.readFile(path);
  host.getSourceFile = (path, version, ...rest) => {
    const code = files.get(path);
    return code === undefined
      ? onDisk.getSourceFile(path, version, ...rest)
      : ts.createSourceFile(path, code, version);
  };
  const program = ts.createProgram([...files.keys()], relaxed, host);
  return [...files.keys()].flatMap((path) => {
    const source = program.getSourceFile(path);
    return ts
      .getPreEmitDiagnostics(program, source)
      .map((problem) => `${path}: ${ts.flattenDiagnosticMessageText(problem.messageText, "\n")}`);
  });
}
