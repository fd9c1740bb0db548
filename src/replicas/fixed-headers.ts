import type { ClientConfig } from "../config/client-config.ts";
import type { Endpoint } from "../config/endpoint.ts";

/** Headers of every request to an endpoint, a flat list with lower-case names. */
export function fixedHeaders(endpoint: Endpoint, client: ClientConfig): readonly string[] {
  const headers = new Map<string, string>([
    // The answer is relayed byte for byte, so it must not come compressed.
    ["accept-encoding", "identity"],
  ]);
  for (const source of [client.headers, endpoint.headers]) {
    for (const [name, value] of Object.entries(source ?? {})) headers.set(name.toLowerCase(), value);
  }
  const apiKey = endpoint.apiKey ?? client.apiKey;
  if (apiKey !== undefined) headers.set("authorization", `Bearer ${apiKey}`);
  return [...headers].flat();
}
