// Runs snippets one after the other and prints what failed, as JSON: tsx test/snippets/main.ts <file with snippets> <folder>
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parse, stringify } from "yaml";
import { serve } from "../../src/index.ts";
import { giveValues, startEngines, withRealAddresses } from "./given.ts";
import { root, type Snippet } from "./pages.ts";

const [file, folder] = process.argv.slice(2) as [string, string];
const snippets = JSON.parse(readFileSync(file, "utf8")) as readonly Snippet[];
const timeoutMs = 30_000;

// Files that snippets read.
const serveYaml = readFileSync(join(root, "examples", "serve_pd_config.yaml"), "utf8");
writeFileSync(join(folder, "serve.yaml"), serveYaml);
const [{ args }] = (parse(serveYaml) as { applications: [{ args: Record<string, object> }] }).applications;
for (const side of ["prefill", "decode"])
  writeFileSync(join(folder, `${side}.yaml`), stringify(args[`${side}_config`]));
process.chdir(folder);

let onRejection: (reason: unknown) => void = () => undefined;
process.on("unhandledRejection", (reason) => onRejection(reason));
process.on("uncaughtException", (error) => onRejection(error));
// Warnings and what snippets print must not come between.
console.log = () => undefined;

const engines = await startEngines();
const failures: Record<string, string> = {};
for (const [index, { name, code }] of snippets.entries()) {
  await giveValues(engines);
  const path = join(folder, `snippet-${index}.ts`);
  writeFileSync(path, `${withRealAddresses(code, engines)}\nexport {};\n`);
  try {
    await new Promise<void>((resolve, reject) => {
      onRejection = reject;
      setTimeout(() => reject(new Error(`not over after ${timeoutMs} ms`)), timeoutMs).unref();
      import(pathToFileURL(path).href).then(() => setImmediate(resolve), reject);
    });
  } catch (error) {
    failures[name] = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  await serve.shutdown();
}
process.stdout.write(JSON.stringify(failures), () => process.exit(0));
