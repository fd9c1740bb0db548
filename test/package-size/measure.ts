import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const root = join(import.meta.dirname, "..", "..");

/** One measured size, and the most it may be. */
export interface Size {
  readonly what: string;
  readonly bytes: number;
  /** Bytes. Raise it only with a reason in the commit's message. */
  readonly budget: number;
}

/** Measures the package as it was built last. */
export async function measureSizes(): Promise<readonly Size[]> {
  const packed = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [{ size, unpackedSize }] = JSON.parse(packed) as [{ size: number; unpackedSize: number }];
  const own = await bundle('export { LLMConfig } from "./dist/index.js";', true);
  const whole = await bundle('export { LLMConfig } from "./dist/index.js";', false);
  return [
    { what: "tarball, source maps included", bytes: size, budget: 3_300_000 },
    { what: "installed, without dependencies", bytes: unpackedSize, budget: 13_000_000 },
    { what: "LLMConfig alone, minified, without dependencies", bytes: own.byteLength, budget: 140_000 },
    { what: "the same, gzipped", bytes: gzipSync(own).byteLength, budget: 48_000 },
    { what: "LLMConfig alone, minified, with dependencies", bytes: whole.byteLength, budget: 950_000 },
  ];
}

/** A bundler's output for what a user imports. */
async function bundle(contents: string, withoutDependencies: boolean): Promise<Uint8Array> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root },
    bundle: true,
    format: "esm",
    platform: "node",
    minify: true,
    write: false,
    logLevel: "error",
    ...(withoutDependencies ? { packages: "external" } : {}),
  });
  return outputFiles[0]!.contents;
}
