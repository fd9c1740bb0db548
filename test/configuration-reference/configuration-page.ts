import { join } from "node:path";
import ts from "typescript";
import { toSnakeCase } from "../../src/config/casing.ts";
import { sections, type Section } from "./sections.ts";

const source = join(import.meta.dirname, "..", "..", "src");

/** One option, as the page tells of it. */
export interface OptionDoc {
  readonly name: string;
  readonly type: string;
  readonly required: boolean;
  readonly description: string;
  /** What the comment says it is when not given; undefined when it says nothing. */
  readonly documentedDefault: string | undefined;
}

/** A section with its options read from the doc comments. */
export interface SectionDoc {
  readonly section: Section;
  readonly options: readonly OptionDoc[];
}

/** Reads the sections' options from the sources. */
export function readSections(): readonly SectionDoc[] {
  const { config } = ts.readConfigFile(join(source, "..", "tsconfig.json"), (path) =>
    ts.sys.readFile(path),
  ) as {
    config: object;
  };
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, join(source, ".."));
  const files = [...new Set(sections.map((section) => join(source, section.source[0])))];
  const program = ts.createProgram(files, options);
  const checker = program.getTypeChecker();
  return sections.map((section) => {
    const [file, name] = section.source;
    const module = checker.getSymbolAtLocation(program.getSourceFile(join(source, file))!);
    const symbol = checker.getExportsOfModule(module!).find((each) => each.name === name);
    if (symbol === undefined) throw new Error(`${file} has no ${name}`);
    const properties = checker
      .getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol))
      .filter((property) => !section.except?.includes(property.name));
    return { section, options: properties.map((property) => readOption(checker, property)) };
  });
}

function readOption(checker: ts.TypeChecker, property: ts.Symbol): OptionDoc {
  const declaration = property.declarations![0] as ts.PropertySignature;
  const text = ts.displayPartsToString(property.getDocumentationComment(checker));
  const tag = property.getJsDocTags(checker).find((each) => each.name === "default");
  const inText = / ?\bDefault:? (.+?)\.(?=\s|$)/s.exec(text);
  return {
    name: property.name,
    type: (declaration.type?.getText() ?? "unknown").replaceAll(/\breadonly |\s*\| undefined\b/g, "").trim(),
    required: declaration.questionToken === undefined,
    description: inText === null ? text : text.replace(inText[0], ""),
    documentedDefault: tag === undefined ? inText?.[1] : ts.displayPartsToString(tag.text),
  };
}

/** docs/configuration.md, from the schemas and the doc comments. */
export function configurationPage(): string {
  return [
    "# Configuration reference",
    "",
    "<!-- Written by `npx tsx test/configuration-reference/main.ts`. Change the doc comments in src/, not this page. -->",
    "",
    "Every option is taken in camelCase and in Ray's snake_case; the table has both. Unknown keys are errors where Ray",
    "forbids them. What [Ray has and remote engines can't be told](from-ray.md) is validated, kept for export, and named",
    "in `app.notes()`. Types are those of TypeScript; the [API pages](../typedoc.json) have all of them.",
    "",
    ...readSections().flatMap(sectionText),
    "## Environment variables",
    "",
    "Ray's names, read when an application is made.",
    "",
    ...environmentText(),
    "",
  ].join("\n");
}

function sectionText({ section, options }: SectionDoc): readonly string[] {
  return [
    `## ${section.title}`,
    "",
    ...(section.intro === undefined ? [] : [section.intro, ""]),
    "| option | Ray's spelling | type | default | |",
    "|---|---|---|---|---|",
    ...options.map((option) => {
      const { name, type, description } = option;
      const ray = toSnakeCase(name);
      const cells = [
        `\`${name}\``,
        ray === name ? "" : `\`${ray}\``,
        `\`${type}\``,
        defaultText(option, section),
        description,
      ];
      return `| ${cells.map(cell).join(" | ")} |`;
    }),
    "",
  ];
}

function defaultText({ name, required, documentedDefault }: OptionDoc, { defaults }: Section): string {
  if (required && defaults?.[name] === undefined) return "required";
  if (documentedDefault !== undefined) return documentedDefault;
  const value = defaults?.[name];
  return value === undefined || value === null ? "none" : `\`${JSON.stringify(value)}\``;
}

/** One line, and no bar that would end the cell. Links of doc comments become code. */
function cell(text: string): string {
  return text
    .replaceAll(/\{@link ([^}]+)\}/g, "`$1`")
    .replaceAll(/\s+/g, " ")
    .replaceAll("|", "\\|")
    .trim();
}

function environmentText(): readonly string[] {
  const text = ts.sys.readFile(join(source, "config", "environment.ts"))!;
  const rows = [...text.matchAll(/\/\*\* (.*?) ?`([A-Z][A-Z_]+)`\. @default (.*?) \*\//g)];
  return [
    "| variable | default | |",
    "|---|---|---|",
    ...rows.map(
      ([, description, name, value]) => `| \`${name!}\` | ${cell(value!)} | ${cell(description!)} |`,
    ),
  ];
}
