import { nearestName } from "../config/nearest-name.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { ConsistentHashRouter } from "./consistent-hash-router.ts";
import { KvPressureRouter } from "./kv-pressure-router.ts";
import { LeastLoadedRouter } from "./least-loaded-router.ts";
import { PowerOfTwoRouter } from "./power-of-two-router.ts";
import { PrefixCacheAffinityRouter } from "./prefix-cache-affinity-router.ts";
import type { RequestRouter, RequestRouterContext, RequestRouterFactory } from "./request-router.ts";
import { RoundRobinRouter } from "./round-robin-router.ts";
import { SessionAffinityRouter } from "./session-affinity-router.ts";

/** Which routers this process knows. */
const factories = new Map<string, RequestRouterFactory>([
  ["power-of-two", (context) => new PowerOfTwoRouter(context)],
  ["round-robin", (context) => new RoundRobinRouter(context)],
  ["least-loaded", (context) => new LeastLoadedRouter(context)],
  ["prefix-cache-affinity", (context) => new PrefixCacheAffinityRouter(context)],
  ["consistent-hash", (context) => new ConsistentHashRouter(context)],
  ["session-affinity", (context) => new SessionAffinityRouter(context)],
  ["kv-pressure", (context) => new KvPressureRouter(context)],
]);

/** Ray's classes by name, as far as there is one that does the same. */
const rayClasses: ReadonlyMap<string, string> = new Map([
  ["PowerOfTwoChoicesRequestRouter", "power-of-two"],
  ["RoundRobinRouter", "round-robin"],
  ["PrefixCacheAffinityRouter", "prefix-cache-affinity"],
  ["ConsistentHashRouter", "consistent-hash"],
  ["CapacityQueueRouter", "least-loaded"],
]);

/**
 * Adds a router under a name that `requestRouterClass` may give. Where Ray imports a class by its path, here it is
 * registered first.
 *
 * @throws ConfigurationError when the name is taken
 */
export function registerRequestRouter(name: string, factory: RequestRouterFactory): void {
  if (findFactory(name) !== undefined) {
    throw new ConfigurationError("Request router registration", [
      { path: [name], message: `request router '${name}' is already registered`, type: "value_error" },
    ]);
  }
  factories.set(name, factory);
}

/** Forgets a router; an unknown name is no error. */
export function unregisterRequestRouter(name: string): void {
  factories.delete(name);
}

/** True when {@link createRequestRouter} knows the name or class path. */
export function isRequestRouterRegistered(nameOrClassPath: string): boolean {
  return findFactory(nameOrClassPath) !== undefined;
}

/**
 * Makes a router from one of our names (`power-of-two`, `round-robin`, `least-loaded`, `prefix-cache-affinity`,
 * `consistent-hash`, `session-affinity`, `kv-pressure`), a registered one, or Ray's class: its name alone, or its
 * path with a colon or a dot before the name.
 *
 * @throws ConfigurationError when there is none, naming the nearest, or when its keyword arguments are refused
 */
export function createRequestRouter(nameOrClassPath: string, context: RequestRouterContext): RequestRouter {
  const factory = findFactory(nameOrClassPath);
  if (factory !== undefined) return factory(context);
  const known = [...factories.keys(), ...rayClasses.keys()];
  const nearest = nearestName(className(nameOrClassPath), known);
  throw new ConfigurationError("Request router", [
    {
      path: ["request_router_class"],
      message:
        className(nameOrClassPath) === "KVAwareRouter"
          ? "KVAwareRouter follows KV events, which remote endpoints do not send here; the nearest is " +
            '"prefix-cache-affinity"'
          : `unknown request router "${nameOrClassPath}"` +
            (nearest === undefined ? "" : `; did you mean "${nearest}"?`),
      type: "value_error",
      expected: known.join(", "),
      received: nameOrClassPath,
    },
  ]);
}

function findFactory(nameOrClassPath: string): RequestRouterFactory | undefined {
  const own = factories.get(nameOrClassPath);
  if (own !== undefined) return own;
  const name = className(nameOrClassPath);
  // Ray's class, or somebody's own of the same name?
  if (name !== nameOrClassPath && !nameOrClassPath.startsWith("ray.")) return undefined;
  const alias = rayClasses.get(name);
  return alias === undefined ? undefined : factories.get(alias);
}

function className(path: string): string {
  return path.slice(Math.max(path.lastIndexOf("."), path.lastIndexOf(":")) + 1);
}
