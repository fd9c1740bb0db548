import type { ConfigIssue } from "../errors/configuration-error.ts";
import { readImportPath } from "./import-path.ts";

/** Where Ray 2.58 keeps the public classes that this library has under the same name. */
const classPaths: ReadonlyMap<string, string> = new Map([
  ["LLMServer", "ray.serve.llm.deployment:LLMServer"],
  ["DPServer", "ray.serve.llm.deployment:DPServer"],
  ["PDProxyServer", "ray.serve.llm.deployment:PDProxyServer"],
  ["PDPrefillServer", "ray.serve.llm.deployment:PDPrefillServer"],
  ["PDDecodeServer", "ray.serve.llm.deployment:PDDecodeServer"],
  ["OpenAiIngress", "ray.serve.llm.ingress:OpenAiIngress"],
]);

/** Ray's routers, by their names here and by their own. */
const routerPaths: ReadonlyMap<string, string> = new Map(
  [
    ["power-of-two", "ray.serve._private.request_router:PowerOfTwoChoicesRequestRouter"],
    ["round-robin", "ray.serve.experimental.round_robin_router:RoundRobinRouter"],
    ["consistent-hash", "ray.serve.experimental.consistent_hash_router:ConsistentHashRouter"],
    ["least-loaded", "ray.serve.experimental.capacity_queue_router:CapacityQueueRouter"],
    ["prefix-cache-affinity", "ray.serve.llm.request_router:PrefixCacheAffinityRouter"],
    ["kv-aware", "ray.serve.llm.request_router:KVAwareRouter"],
  ].flatMap(([name = "", path = ""]) => [
    [name, path],
    [path.slice(path.indexOf(":") + 1), path],
  ]),
);

/** A path that Ray can import, or why there is none. */
export type RayPath = { readonly path: string } | Pick<ConfigIssue, "message" | "type" | "expected">;

/** Ray's path of a class: this library's own classes have one, and a path that was given stays. */
export function rayClassPath(reference: unknown): RayPath {
  if (typeof reference === "string") {
    const read = readImportPath(reference);
    const own = read?.module === "serve-llm" ? classPaths.get(read.name) : undefined;
    return { path: own ?? reference };
  }
  const path = typeof reference === "function" ? classPaths.get(reference.name) : undefined;
  return path === undefined ? notImportable : { path };
}

/** Ray's path of a request router. */
export function rayRouterPath(reference: unknown): RayPath {
  if (typeof reference !== "string") return notImportable;
  if (reference === "" || readImportPath(reference) !== undefined) return { path: reference };
  const path = routerPaths.get(reference);
  if (path !== undefined) return { path };
  return {
    type: "value_error",
    message: "Ray has no such request router, so it can't be exported",
    expected: `one of ${[...routerPaths.keys()].join(", ")}`,
  };
}

const notImportable: RayPath = {
  type: "value_error",
  message: "Ray imports classes by a path, and JavaScript's have none, so this can't be exported",
  expected: "Ray's import path of the class",
};
