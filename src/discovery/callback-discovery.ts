import {
  type Discovery,
  type DiscoveryContext,
  type EndpointInit,
  parseEndpoints,
} from "../config/endpoint.ts";
import { number, objectOf, withDefault } from "../config/lax-schema.ts";
import { parseConfig } from "../config/parse-config.ts";
import { pollingDiscovery } from "./polling-discovery.ts";

/** How {@link callbackDiscovery} asks. */
export interface CallbackDiscoveryOptions {
  /** Milliseconds between two calls, > 0. @default 10000 */
  readonly refreshMs?: number | undefined;
}

/** Gives the complete list of endpoints as it is now. */
export type ListEndpoints = (
  signal: AbortSignal,
  context: DiscoveryContext,
) => readonly (string | EndpointInit)[] | Promise<readonly (string | EndpointInit)[]>;

const schema = objectOf("callbackDiscovery", {
  refreshMs: withDefault(number({ greaterThan: 0 }), 10_000),
});

/**
 * Endpoints from your own function: a registry, a database, a cloud API. It is called again and again; when it throws
 * or gives bad endpoints, the last good list stays in use and a warning is given.
 *
 * @example callbackDiscovery(async (signal) => (await fetch(registry, { signal })).json(), { refreshMs: 5_000 })
 * @throws ConfigurationError when an option is not usable
 */
export function callbackDiscovery(list: ListEndpoints, options: CallbackDiscoveryOptions = {}): Discovery {
  const { refreshMs } = parseConfig(schema, options, "callbackDiscovery");
  return pollingDiscovery({
    name: "The endpoint callback",
    retryMs: refreshMs,
    maxRetryMs: Math.max(refreshMs, 60_000),
    poll: async (signal, context) => ({
      endpoints: parseEndpoints(await list(signal, context), "The endpoint callback's list"),
      nextMs: refreshMs,
    }),
  });
}
