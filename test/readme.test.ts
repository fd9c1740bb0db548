import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { buildCommand } from "../src/cli/build-command.ts";
import { benchCommand } from "../src/cli/bench-command.ts";
import { demoCommand } from "../src/cli/demo-command.ts";
import { doctorCommand } from "../src/cli/doctor-command.ts";
import { mockCommand } from "../src/cli/mock-command.ts";
import { mockVllmCommand } from "../src/cli/mock-vllm-command.ts";
import { runCommand } from "../src/cli/run-command.ts";
import { pages, root, textOf as text } from "./snippets/pages.ts";

describe.each(pages)("%s", (page) => {
  it("links to what exists", () => {
    const targets = [...text(page).matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g)].map(
      ([, target]) => target!,
    );
    expect(targets.filter((target) => !existsSync(join(root, dirname(page), target)))).toEqual([]);
  });

  it("uses commands and options that exist", () => {
    const commands = new Map(
      [
        runCommand(),
        demoCommand(),
        mockCommand(),
        mockVllmCommand(),
        doctorCommand(),
        benchCommand(),
        buildCommand(),
      ].map((each) => [each.name(), each]),
    );
    const problems: string[] = [];
    // A command goes on over lines that end in a backslash, and ends with its line, a comment or its code span.
    for (const [line, name, rest] of text(page).matchAll(
      /(?:npx|\$|`) ?serve-llm ([\w-]+)((?:[^\n#`\\]|\\\n)*)/g,
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

describe("docs/README.md", () => {
  it("has a line for every page", () => {
    const index = text("docs/README.md");
    const missing = readdirSync(join(root, "docs")).filter(
      (name) => name.endsWith(".md") && name !== "README.md" && !index.includes(`](${name})`),
    );
    expect(missing).toEqual([]);
  });
});

describe("CONTRIBUTING.md", () => {
  it("has every folder of src in the house", () => {
    const rows = text("CONTRIBUTING.md")
      .match(/^\| .+$/gm)!
      .join("\n");
    const folders = readdirSync(join(root, "src"), { withFileTypes: true }).filter((entry) =>
      entry.isDirectory(),
    );
    expect(folders.map(({ name }) => name).filter((name) => !rows.includes(`\`${name}\``))).toEqual([]);
  });
});

describe("docs/troubleshooting.md", () => {
  it("has every reason why decode serves a request alone", () => {
    const source = readFileSync(join(root, "src", "llm", "disaggregation-decision.ts"), "utf8");
    const union = /export type DecodeOnlyReason =([^;]*);/.exec(source)![1]!;
    const reasons = [...union.matchAll(/^ {2}\| "(\w+)"/gm)].map(([, reason]) => reason!);
    expect(reasons.length).toBeGreaterThan(8);
    const rows = text("docs/troubleshooting.md")
      .match(/^\| `.+$/gm)!
      .join("\n");
    expect(reasons.filter((reason) => !rows.includes(`\`${reason}\``))).toEqual([]);
  });
});
