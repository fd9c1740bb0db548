/** A Python import path taken apart: `"a.b:C"` and `"a.b.C"` are module `a.b`, name `C`. */
export interface ImportPath {
  readonly module: string;
  readonly name: string;
}

/** A function where Ray takes "an import path or a callable". */
export type AnyFunction = (...parameters: never[]) => unknown;

/** Reads an import path as Ray's `import_attr` does; `undefined` when it is none. */
export function readImportPath(path: string): ImportPath | undefined {
  const split = path.includes(":") ? path.split(":") : splitAtLastDot(path);
  const [module, name] = split;
  if (split.length !== 2 || module === undefined || name === undefined) return undefined;
  return module === "" || name === "" ? undefined : { module, name };
}

function splitAtLastDot(path: string): readonly string[] {
  const dot = path.lastIndexOf(".");
  return dot < 0 ? [path] : [path.slice(0, dot), path.slice(dot + 1)];
}

/** What is wrong with the shape of an application's `import_path`, in Ray's words; `undefined` when nothing is. */
export function importPathProblem(path: string): string | undefined {
  const got = `Got invalid import path "${path}". An import path`;
  if (path.includes(":")) {
    if (path.indexOf(":") !== path.lastIndexOf(":")) return `${got} may have at most one colon.`;
    if (path.startsWith(":") || path.endsWith(":")) return `${got} may not start or end with a colon.`;
    return undefined;
  }
  if (!path.includes(".")) {
    return (
      `${got} must contain at least on dot or colon separating the module (and potentially submodules) ` +
      `from the deployment graph. E.g.: "module.deployment_graph".`
    );
  }
  const last = path.lastIndexOf(".");
  if (last === 0 || last === path.length - 1) return `${got} may not start or end with a dot.`;
  return undefined;
}
