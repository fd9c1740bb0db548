import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const root = join(import.meta.dirname, "..", "..");

/** What of package.json tests look at. */
export interface Manifest {
  readonly version: string;
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
}

export const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;

/** An empty project with the packed package installed. */
export interface InstalledPackage extends Disposable {
  readonly folder: string;
  /** Paths of the package's files. */
  readonly files: readonly string[];
  /** Bytes of the tarball, and of what is in it. */
  readonly size: { readonly packed: number; readonly unpacked: number };
}

/**
 * What `npm install` of the tarball does, without a registry: the dependencies are linked from here.
 *
 * @param others further packages of the project
 */
export function installPackage(others: readonly string[] = []): InstalledPackage {
  if (!existsSync(join(root, "dist", "index.js")))
    throw new Error('There is no dist: run "npm run build" first');
  const folder = mkdtempSync(join(tmpdir(), "serve-llm-dist-"));
  const packed = execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [tarball] = JSON.parse(packed) as [
    { filename: string; size: number; unpackedSize: number; files: { path: string }[] },
  ];
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, ".bin"), { recursive: true });
  execFileSync("tar", ["-xzf", join(folder, tarball.filename), "-C", modules]);
  execFileSync("mv", [join(modules, "package"), join(modules, "serve-llm")]);
  for (const name of [...Object.keys(manifest.dependencies), "@types/node", "undici-types", ...others]) {
    mkdirSync(join(modules, name, ".."), { recursive: true });
    symlinkSync(join(root, "node_modules", name), join(modules, name));
  }
  const bin = join(modules, "serve-llm", manifest.bin["serve-llm"]!);
  chmodSync(bin, 0o755);
  symlinkSync(bin, join(modules, ".bin", "serve-llm"));
  return {
    folder,
    files: tarball.files.map(({ path }) => path),
    size: { packed: tarball.size, unpacked: tarball.unpackedSize },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}
