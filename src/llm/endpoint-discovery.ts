import { type Discovery, type Endpoints, isEndpointList } from "../config/endpoint.ts";
import type { EndpointSource } from "../config/endpoint-source.ts";
import { dnsDiscovery, type DnsDiscoveryOptions } from "../discovery/dns-discovery.ts";
import { fileDiscovery, type FileDiscoveryOptions } from "../discovery/file-discovery.ts";
import { staticDiscovery } from "../discovery/static-discovery.ts";
import { kubernetesDiscovery, type KubernetesDiscoveryOptions } from "../kubernetes/kubernetes-discovery.ts";

type MakeDiscovery = (options: Readonly<Record<string, unknown>>) => Discovery;

/** Every source that a configuration may name. They check their options themselves. */
const sources: Readonly<Record<keyof EndpointSource, MakeDiscovery>> = {
  dns: (options) => dnsDiscovery(options as unknown as DnsDiscoveryOptions),
  kubernetes: (options) => kubernetesDiscovery(options as unknown as KubernetesDiscoveryOptions),
  file: (options) => fileDiscovery(options as unknown as FileDiscoveryOptions),
};

/**
 * The `endpoints` of a configuration as a discovery, whichever way they were given.
 *
 * @throws ConfigurationError when the options of a source are not usable
 */
export function endpointDiscovery(endpoints: Endpoints): Discovery {
  if (typeof endpoints === "function") return endpoints;
  if (isEndpointList(endpoints)) return staticDiscovery(endpoints);
  const [kind, options] = Object.entries(endpoints)[0] as [
    keyof EndpointSource,
    Readonly<Record<string, unknown>>,
  ];
  return sources[kind](options);
}
