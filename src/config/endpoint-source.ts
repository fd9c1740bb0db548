import { isPlainObject, type SchemaProblem } from "./lax-schema.ts";
import { type NamedOptions, readNamedSource } from "./named-source.ts";

/**
 * A source of endpoints in words that a YAML file can hold: exactly one of these. In code call the function itself.
 *
 * @example endpoints: { dns: { hostname: "prefill.default.svc.cluster.local", port: 8000 } }
 */
export interface EndpointSource {
  /** Options of `dnsDiscovery`, without functions. */
  readonly dns?: NamedOptions | undefined;
  /** Options of `fileDiscovery`. */
  readonly file?: NamedOptions | undefined;
  /** Options of `kubernetesDiscovery`, without functions. Needs the optional peer `@kubernetes/client-node`. */
  readonly kubernetes?: NamedOptions | undefined;
}

const kinds: readonly (keyof EndpointSource)[] = ["dns", "file", "kubernetes"];

/** True for what {@link readEndpointSource} should look at: an object, not a list, not a function. */
export function isEndpointSource(input: unknown): input is EndpointSource {
  return isPlainObject(input);
}

/** Checks that one known source is named. What its options are is checked where it is made, before anything starts. */
export function readEndpointSource(
  input: EndpointSource,
): { readonly value: EndpointSource } | SchemaProblem {
  return readNamedSource({ ...input }, kinds, "source of endpoints");
}
