import { type Discovery, type Endpoint, type EndpointInit, parseEndpoints } from "../config/endpoint.ts";
import { SnapshotStream } from "./snapshot-stream.ts";

/** A list of endpoints that the program changes; give it as `endpoints`. */
export interface MutableDiscovery extends Discovery {
  /** The list as it is now. */
  readonly endpoints: readonly Endpoint[];
  /** Replaces the list. @throws ConfigurationError naming every bad endpoint; the list is then as before */
  set(endpoints: readonly (string | EndpointInit)[]): void;
  /** Adds endpoints. @throws ConfigurationError when one is bad, or on the list already */
  add(...endpoints: readonly (string | EndpointInit)[]): void;
  /**
   * Takes endpoints off the list.
   *
   * @param urls base URLs, or names of endpoints
   * @returns how many that were; an unknown one is no error, since it is gone
   */
  remove(...urls: readonly string[]): number;
}

/**
 * Endpoints that come and go as the program says. Several deployments may read one list.
 *
 * @example
 * const decodes = mutableDiscovery(["http://decode-0:8000"]);
 * new LLMConfig({ ...config, endpoints: decodes });
 * decodes.add("http://decode-1:8000");
 *
 * @throws ConfigurationError naming every bad endpoint
 */
export function mutableDiscovery(initial: readonly (string | EndpointInit)[] = []): MutableDiscovery {
  const stream = new SnapshotStream<readonly Endpoint[]>();
  let current: readonly Endpoint[] = [];
  const set = (endpoints: readonly (string | EndpointInit)[]): void => {
    current = parseEndpoints(endpoints);
    stream.push(current);
  };
  set(initial);
  const discovery = (signal: AbortSignal): AsyncIterable<readonly Endpoint[]> => stream.read(signal);
  const changes = {
    set,
    add: (...endpoints: readonly (string | EndpointInit)[]): void => set([...current, ...endpoints]),
    remove(...urls: readonly string[]): number {
      const gone = new Set(urls.map((url) => url.replace(/\/+$/, "").replace(/\/v1$/, "")));
      const rest = current.filter(
        ({ url, name }) => !gone.has(url) && (name === undefined || !gone.has(name)),
      );
      const removed = current.length - rest.length;
      if (removed > 0) set(rest);
      return removed;
    },
  };
  const withList = Object.defineProperty(discovery, "endpoints", { get: () => current });
  return Object.assign(withList as unknown as Pick<MutableDiscovery, "endpoints"> & Discovery, changes);
}
