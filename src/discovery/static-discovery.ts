import type { Discovery, Endpoint } from "../config/endpoint.ts";

/** A list that never changes, as a discovery: one snapshot, then silence until it is stopped. */
export function staticDiscovery(endpoints: readonly Endpoint[]): Discovery {
  return async function* discover(signal) {
    yield endpoints;
    if (signal.aborted) return;
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  };
}
