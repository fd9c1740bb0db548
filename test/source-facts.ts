import ts from "typescript";

/** What the architecture test wants to know of one source file. */
export interface SourceFacts {
  /** From `src/`, with forward slashes. */
  readonly path: string;
  /** First folder of the path; empty for files right in `src/`. */
  readonly folder: string;
  /** Tests and what only they use. */
  readonly isTest: boolean;
  readonly lines: number;
  readonly imports: readonly string[];
  readonly clockUses: readonly string[];
  readonly processUses: readonly string[];
  readonly forbiddenSyntax: readonly string[];
}

/** First folder of a path from `src/`; empty for files right in it. */
export function folderOf(path: string): string {
  return path.includes("/") ? (path.split("/")[0] as string) : "";
}

/**
 * Reads one file from its syntax tree, so that comments and strings count for nothing.
 *
 * @param path from `src/`, with forward slashes
 */
export function analyse(path: string, text: string): SourceFacts {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
  const imports: string[] = [];
  const clockUses: string[] = [];
  const processUses: string[] = [];
  const forbiddenSyntax: string[] = [];

  const visit = (node: ts.Node): void => {
    const specifier = importSpecifier(node);
    if (specifier !== undefined) imports.push(specifier);
    const syntax = forbiddenSyntaxOf(node);
    if (syntax !== undefined) forbiddenSyntax.push(syntax);
    const clockUse = clockUseOf(node);
    if (clockUse !== undefined) clockUses.push(clockUse);
    if (isGlobalReference(node, new Set(["process"]))) {
      const { parent } = node;
      const member =
        ts.isPropertyAccessExpression(parent) && parent.expression === node ? `.${parent.name.text}` : "";
      processUses.push(`process${member}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);

  return {
    path,
    folder: folderOf(path),
    isTest: /\.(test|fixture)\.ts$/.test(path),
    lines: text.trimEnd().split("\n").length,
    imports,
    clockUses,
    processUses,
    forbiddenSyntax,
  };
}

function importSpecifier(node: ts.Node): string | undefined {
  let specifier: ts.Node | undefined;
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) specifier = node.moduleSpecifier;
  else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
    specifier = node.argument.literal;
  else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
    specifier = node.arguments[0];
  return specifier !== undefined && ts.isStringLiteral(specifier) ? specifier.text : undefined;
}

function forbiddenSyntaxOf(node: ts.Node): string | undefined {
  if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined && node.exportClause === undefined)
    return "export *";
  if (ts.isExportAssignment(node)) return "default export";
  if (node.kind === ts.SyntaxKind.DefaultKeyword && !ts.isDefaultClause(node.parent)) return "default export";
  if (ts.isEnumDeclaration(node)) return "enum";
  if (ts.isModuleDeclaration(node) && !ts.isStringLiteral(node.name)) return "namespace";
  if (node.kind === ts.SyntaxKind.AnyKeyword) return "any";
  return undefined;
}

const timerGlobals = new Set(["setTimeout", "setInterval", "setImmediate", "performance", "crypto"]);
const randomImports = new Set([
  "randomBytes",
  "randomUUID",
  "randomInt",
  "randomFillSync",
  "getRandomValues",
  "webcrypto",
]);

function clockUseOf(node: ts.Node): string | undefined {
  if (isGlobalReference(node, timerGlobals)) return (node as ts.Identifier).text;
  if (ts.isPropertyAccessExpression(node)) {
    const use = `${node.expression.getText()}.${node.name.text}`;
    if (use === "Date.now" || use === "Math.random") return use;
    if (node.expression.getText() === "globalThis" && timerGlobals.has(node.name.text)) return node.name.text;
  }
  if (ts.isNewExpression(node) && node.expression.getText() === "Date" && (node.arguments ?? []).length === 0)
    return "new Date()";
  if (ts.isImportSpecifier(node)) {
    const name = (node.propertyName ?? node.name).text;
    const from = importSpecifier(node.parent.parent.parent);
    if (from === "node:crypto" && randomImports.has(name)) return name;
  }
  if (ts.isImportDeclaration(node) && /^node:(timers|perf_hooks)/.test(importSpecifier(node) ?? ""))
    return importSpecifier(node);
  return undefined;
}

/** True for an identifier that stands for a global, rather than naming a member or declaring something. */
function isGlobalReference(node: ts.Node, names: ReadonlySet<string>): boolean {
  if (!ts.isIdentifier(node) || !names.has(node.text)) return false;
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node;
  if (ts.isQualifiedName(parent) || ts.isImportSpecifier(parent) || ts.isTypeReferenceNode(parent))
    return false;
  return !("name" in parent && parent.name === node) || ts.isShorthandPropertyAssignment(parent);
}
