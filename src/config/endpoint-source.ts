import { describeValue } from "./describe-value.ts";
import { isPlainObject, type SchemaProblem } from "./lax-schema.ts";

/** The options of a source; which there are, and their defaults, is said where it is made. Either spelling is taken. */
type SourceOptions = Readonly<Record<string, unknown>>;

/**
 * A source of endpoints in words that a YAML file can hold: exactly one of these. In code call the function itself.
 *
 * @example endpoints: { dns: { hostname: "prefill.default.svc.cluster.local", port: 8000 } }
 */
export interface EndpointSource {
  /** Options of `dnsDiscovery`, without functions. */
  readonly dns?: SourceOptions | undefined;
  /** Options of `fileDiscovery`. */
  readonly file?: SourceOptions | undefined;
  /** Options of `kubernetesDiscovery`, without functions. Needs the optional peer `@kubernetes/client-node`. */
  readonly kubernetes?: SourceOptions | undefined;
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
  const named = Object.keys(input);
  const [kind] = named;
  if (named.length !== 1 || !kinds.some((known) => known === kind)) {
    return {
      type: "value_error",
      message: "An object here names one source of endpoints",
      expected: `one of ${kinds.map((known) => `{ ${known}: { ... } }`).join(", ")}`,
      received: named.length === 0 ? "an empty object" : `an object with ${named.join(", ")}`,
    };
  }
  const options: unknown = input[kind as keyof EndpointSource];
  return isPlainObject(options)
    ? { value: input }
    : {
        type: "dict_type",
        message: "The options of a source of endpoints are an object",
        path: [kind!],
        received: describeValue(options, []),
      };
}
