import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** What the page is made of. */
export interface PageBundle {
  readonly script: string;
  readonly style: string;
}

/**
 * The page's script and style, each in one piece, with the charts in them.
 *
 * This runs where the page is built: from the sources, and in tsup.config.ts, which puts the result in this module's
 * place. What is published has two strings here, and needs no bundler.
 */
export async function pageBundle(): Promise<PageBundle> {
  const { build } = await import("esbuild");
  const { outputFiles } = await build({
    entryPoints: ["main.ts", "page.css"].map((file) =>
      fileURLToPath(new URL(`./page/${file}`, import.meta.url)),
    ),
    bundle: true,
    minify: true,
    write: false,
    outdir: "page",
    format: "iife",
    target: "es2022",
    charset: "utf8",
    logLevel: "silent",
    banner: { js: await licenseNotice() },
  });
  const textOf = (extension: string): string => {
    const file = outputFiles.find(({ path }) => path.endsWith(extension));
    if (file === undefined) throw new Error(`The page's bundle has no ${extension} file.`);
    return file.text.trim();
  };
  return { script: textOf(".js"), style: textOf(".css") };
}

/** Copies of the chart library have to carry its license. */
async function licenseNotice(): Promise<string> {
  const path = createRequire(import.meta.url)
    .resolve("uplot/package.json")
    .replace("package.json", "LICENSE");
  return `/*! uPlot, https://github.com/leeoniya/uPlot\n${(await readFile(path, "utf8")).trim()}\n*/`;
}
