import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { root } from "./support/installed-package.ts";
import { testTitles } from "./support/test-titles.ts";

const modes = 98;

interface Row {
  readonly mode: string;
  readonly answer: string;
  /** `file: title`, as written. */
  readonly tests: readonly (readonly [file: string, title: string])[];
}

const rows: readonly Row[] = readFileSync(join(root, "test/failure-catalogue.md"), "utf8")
  .split("\n")
  .filter((line) => /^\| F\d/.test(line))
  .map((line) => {
    const [mode = "", , answer = "", tests = ""] = line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim());
    return { mode, answer, tests: tests === "" ? [] : tests.split("<br>").map(testOf) };
  });

function testOf(text: string): readonly [string, string] {
  const [, file, title] = /^`([^`]+)`: (.+)$/.exec(text.trim()) ?? [];
  if (file === undefined || title === undefined) throw new Error(`no test: ${text}`);
  return [file, title.replaceAll("\\|", "|")];
}

it("the catalogue has every failure mode once, in order", () => {
  expect(rows.map(({ mode }) => mode)).toEqual(Array.from({ length: modes }, (_, index) => `F${index + 1}`));
});

it("every test that it names exists", () => {
  const missing = rows.flatMap(({ mode, tests }) =>
    tests
      .filter(([file, title]) => !existsSync(join(root, file)) || !testTitles(file).has(title))
      .map(([file, title]) => `${mode} ${file}: ${title}`),
  );
  expect(missing).toEqual([]);
});

it("a mode without a test says why, and is one of the known ones", () => {
  const untested = rows.filter(({ tests }) => tests.length === 0);
  for (const { mode, answer } of untested)
    expect([mode, answer]).toEqual([mode, expect.stringMatching(/^(open|not applicable)[ :]/)]);
  expect(untested.map(({ mode }) => mode)).toEqual(["F9", "F19", "F27", "F76"]);
});
