import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { given } from "./snippets/given.ts";
import { pages, root, snippetsOf } from "./snippets/pages.ts";

const snippets = pages.flatMap((page) => snippetsOf(page));

describe("the snippets of the pages", () => {
  it("are right TypeScript", () => {
    const files = new Map<string, string>([[join(root, "test", "given.virtual.ts"), given]]);
    for (const { name, code } of snippets) {
      const file = `${name.replaceAll(/\W/g, "-")}.virtual.ts`;
      files.set(join(root, "test", file), `${code}\nexport {};\n`);
    }
    expect(files.size).toBeGreaterThan(10);
    expect(problemsOf(files)).toEqual([]);
  });

  it("run, on mock engines", async () => {
    // Within the project, so that packages are found.
    const folder = mkdtempSync(join(root, "test", ".snippets-"));
    try {
      const list = join(folder, "snippets.json");
      writeFileSync(list, JSON.stringify(snippets.filter(({ notRun }) => notRun === undefined)));
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ["--import", "tsx", "--disable-warning=ServeLLMWarning", "test/snippets/main.ts", list, folder],
        { cwd: root, env: { ...process.env, TSX_TSCONFIG_PATH: join(root, "tsconfig.json") } },
      );
      expect(JSON.parse(stdout)).toEqual({});
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, 300_000);
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
