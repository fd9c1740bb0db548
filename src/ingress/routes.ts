/** Where a method of an ingress class is served. */
export interface Route {
  readonly method: "GET" | "POST";
  /** Exact path, or one that ends in `{model}`, which takes the rest of the path, slashes included. */
  readonly path: string;
}

/** Methods of an ingress class by name, with their routes. */
export type RouteMap = Readonly<Record<string, Route>>;

/** The routes of {@link OpenAiIngress}. Read this table to know the API. Mirrors Ray's `DEFAULT_ENDPOINTS`. */
export const defaultRoutes = {
  models: { method: "GET", path: "/v1/models" },
  modelData: { method: "GET", path: "/v1/models/{model}" },
  chat: { method: "POST", path: "/v1/chat/completions" },
  completions: { method: "POST", path: "/v1/completions" },
  health: { method: "GET", path: "/health" },
} as const satisfies RouteMap;

/** What a path and method lead to. */
export type RouteMatch =
  | { readonly kind: "match"; readonly handler: string; readonly parameter: string | undefined }
  | { readonly kind: "wrong-method"; readonly allowed: readonly string[] }
  | { readonly kind: "no-route" };

const parameterSuffix = "{model}";

/** Looks paths up. Made once for each ingress. */
export class RouteTable {
  readonly #exact = new Map<string, Map<string, string>>();
  readonly #prefixes: { readonly prefix: string; readonly methods: Map<string, string> }[] = [];

  constructor(routes: RouteMap) {
    for (const [handler, { method, path }] of Object.entries(routes)) {
      if (path.endsWith(parameterSuffix)) {
        const prefix = path.slice(0, -parameterSuffix.length);
        this.#prefixes.push({ prefix, methods: new Map([[method, handler]]) });
      } else {
        const methods = this.#exact.get(path) ?? new Map<string, string>();
        this.#exact.set(path, methods.set(method, handler));
      }
    }
  }

  match(method: string, path: string): RouteMatch {
    const exact = this.#exact.get(path);
    if (exact !== undefined) return toMatch(exact, method, undefined);
    for (const { prefix, methods } of this.#prefixes) {
      if (path.startsWith(prefix) && path.length > prefix.length) {
        return toMatch(methods, method, decodePath(path.slice(prefix.length)));
      }
    }
    return { kind: "no-route" };
  }
}

function toMatch(methods: ReadonlyMap<string, string>, method: string, parameter: string | undefined): RouteMatch {
  const handler = methods.get(method) ?? (method === "HEAD" ? methods.get("GET") : undefined);
  return handler === undefined
    ? { kind: "wrong-method", allowed: [...methods.keys()] }
    : { kind: "match", handler, parameter };
}

function decodePath(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
