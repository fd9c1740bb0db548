import { readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { root } from "./installed-package.ts";

const known = new Map<string, ReadonlySet<string>>();

/**
 * Titles of the tests of a file, as they are written: of each `it`, and of each `describe` that has one. For tests that
 * run once for each row of a table, the title with its placeholders.
 *
 * @param file path from the project's root
 * @throws Error when there is no such file
 */
export function testTitles(file: string): ReadonlySet<string> {
  let titles = known.get(file);
  if (titles === undefined) known.set(file, (titles = readTitles(file)));
  return titles;
}

function readTitles(file: string): ReadonlySet<string> {
  const titles = new Set<string>();
  const source = ts.createSourceFile(file, readFileSync(join(root, file), "utf8"), ts.ScriptTarget.Latest);
  /** @returns whether there is an `it` within */
  const visit = (node: ts.Node): boolean => {
    let runs = false;
    ts.forEachChild(node, (child) => {
      if (visit(child)) runs = true;
    });
    if (!ts.isCallExpression(node)) return runs;
    const name = calleeOf(node.expression);
    const title = node.arguments[0];
    if (title === undefined || !ts.isStringLiteralLike(title)) return runs;
    if (name === "it") runs = true;
    if (runs && (name === "it" || name === "describe")) titles.add(title.text);
    return runs;
  };
  visit(source);
  return titles;
}

/** `it` of `it(...)`, `it.each(...)(...)` and `it.skipIf(...)(...)`. */
function calleeOf(expression: ts.Expression): string | undefined {
  if (ts.isIdentifier(expression)) return expression.text;
  if (ts.isPropertyAccessExpression(expression) || ts.isCallExpression(expression))
    return calleeOf(expression.expression);
  return ts.isTaggedTemplateExpression(expression) ? calleeOf(expression.tag) : undefined;
}
