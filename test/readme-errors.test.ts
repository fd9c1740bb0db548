import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "..");
const source = join(root, "src");
// The command and the mocks send no errors of this library to clients.
const folders = /^(?!cli|testing)/;

/** Unions whose members make codes: `kv_${fault}` and the like. */
const families: readonly (readonly [file: string, type: string, code: (member: string) => string])[] = [
  ["errors/engine-error.ts", "EnginePhase", (phase) => `${phase}_timeout`],
  ["errors/engine-stream-error.ts", "StreamFault", (fault) => `stream_${fault}`],
  ["errors/kv-transfer-error.ts", "KvTransferFault", (fault) => `kv_${fault}`],
];

function sourceFiles(): readonly string[] {
  return readdirSync(source, { recursive: true, encoding: "utf8" }).filter(
    (path) => folders.test(path) && path.endsWith(".ts") && !/\.(test|fixture)\.ts$/.test(path),
  );
}

function codesInSources(): readonly string[] {
  const codes = new Set<string>();
  for (const path of sourceFiles()) {
    const text = readFileSync(join(source, path), "utf8").replaceAll(/\/\*\*.*?\*\//gs, "");
    for (const [, code] of text.matchAll(/\bcode: (?:[\w.]+ \?\? )?"([a-z]+_[a-z_]+)"/g)) codes.add(code!);
  }
  for (const [path, type, code] of families) {
    const text = readFileSync(join(source, path), "utf8");
    const union = new RegExp(`export type ${type} =([^;]*);`).exec(text)?.[1] ?? "";
    for (const [, member] of union.replaceAll(/\/\*\*.*?\*\//gs, "").matchAll(/"([a-z_]+)"/g))
      codes.add(code(member!));
  }
  return [...codes].sort();
}

describe("docs/errors.md", () => {
  const rows = [...readFileSync(join(root, "docs", "errors.md"), "utf8").matchAll(/^\| `([a-z_]+)` \|/gm)];
  const documented = rows.map(([, code]) => code!);

  it("has every error code of the sources, and no other", () => {
    expect(codesInSources().length).toBeGreaterThan(30);
    expect([...documented].sort()).toEqual(codesInSources());
  });

  it("has each once", () => {
    expect(documented).toEqual([...new Set(documented)]);
  });
});
