import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const root = join(import.meta.dirname, "..", "..");

/** Every page of the project, as paths from its root. */
export const pages: readonly string[] = [
  "README.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  "examples/README.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".md") && !path.startsWith("api"))
    .map((path) => join("docs", path)),
];

export const textOf = (page: string): string => readFileSync(join(root, page), "utf8");

/** A fenced piece of TypeScript in a page. */
export interface Snippet {
  /** Page and number, for messages: `docs/concepts.md 2`. */
  readonly name: string;
  readonly code: string;
  /** Why it is not run, from its info string: "```ts no-run: needs a GPU". */
  readonly notRun: string | undefined;
}

/**
 * The TypeScript and JavaScript of a page.
 *
 * @throws Error for an info string that is neither empty nor a reason
 */
export function snippetsOf(page: string): readonly Snippet[] {
  const fences = [
    ...textOf(page).matchAll(/^```(?:ts|typescript|js|javascript|mjs)\b([^\n]*)\n(.*?)^```/gms),
  ];
  return fences.map(([, info, code], index) => {
    const name = `${page} ${index + 1}`;
    const reason = /^ no-run: (.{10,})$/.exec(info!)?.[1];
    if (info !== "" && reason === undefined)
      throw new Error(`${name}: after "ts" comes nothing, or "no-run: " and why it can't be run`);
    return { name, code: code!, notRun: reason };
  });
}
