import { type Discovery, type Endpoint, type EndpointInit, parseEndpoints } from "../config/endpoint.ts";
import {
  anything,
  integer,
  number,
  objectOf,
  oneOf,
  optional,
  text,
  withDefault,
} from "../config/lax-schema.ts";
import { parseConfig } from "../config/parse-config.ts";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { type DnsRecord, type DnsRecordType, type DnsResolver, systemDnsResolver } from "./dns-resolver.ts";
import { pollingDiscovery } from "./polling-discovery.ts";

/** Options of {@link dnsDiscovery}. */
export interface DnsDiscoveryOptions {
  /**
   * Name to look up, complete: search domains are not tried. For a headless service of Kubernetes
   * `prefill.default.svc.cluster.local`; for SRV `_http._tcp.prefill.default.svc.cluster.local`.
   */
  readonly hostname: string;
  /** `A` and `AAAA` give addresses, `SRV` names and ports. @default "A" */
  readonly type?: DnsRecordType | undefined;
  /** Port of the engines, 1 to 65535. Required for `A` and `AAAA`; refused for `SRV`, whose records have their own. */
  readonly port?: number | undefined;
  /** @default "http" */
  readonly scheme?: "http" | "https" | undefined;
  /** Milliseconds at least between two lookups, whatever the TTL says, > 0. @default 1000 */
  readonly minRefreshMs?: number | undefined;
  /** Milliseconds at most between two lookups; also used when the TTL is not known, as with SRV. @default 10000 */
  readonly maxRefreshMs?: number | undefined;
  /** Everything else about an endpoint (rank, pair group, key ...); what it returns is put over the URL. */
  readonly endpoint?: ((record: DnsRecord) => Partial<EndpointInit>) | undefined;
  /** @default the system's DNS servers */
  readonly resolver?: DnsResolver | undefined;
}

const positive = number({ greaterThan: 0 });

const schema = objectOf("dnsDiscovery", {
  hostname: text({ minLength: 1 }),
  type: withDefault(oneOf(["A", "AAAA", "SRV"]), "A"),
  port: optional(integer({ atLeast: 1, atMost: 65_535 })),
  scheme: withDefault(oneOf(["http", "https"]), "http"),
  minRefreshMs: withDefault(positive, 1_000),
  maxRefreshMs: withDefault(positive, 10_000),
  endpoint: optional(anything()),
  resolver: optional(anything()),
});

/** Answers without records in a row that are believed: resolvers hiccup, and an empty pool is no small matter. */
const emptyAnswersBelieved = 2;

/**
 * Endpoints from DNS, looked up again when the records' TTL is over. A failed lookup keeps the last list; a name
 * without records empties it, when the next lookup agrees.
 *
 * @throws ConfigurationError when an option is not usable
 */
export function dnsDiscovery(options: DnsDiscoveryOptions): Discovery {
  const parsed = parseConfig(schema, options, "dnsDiscovery");
  const { hostname, type, scheme, port, minRefreshMs } = parsed;
  if ((type === "SRV") === (port !== undefined)) throw wrongPort(type);
  const maxRefreshMs = Math.max(minRefreshMs, parsed.maxRefreshMs);
  const { endpoint, resolver = systemDnsResolver } = options;

  const toEndpoint = (record: DnsRecord): EndpointInit => {
    const host = type === "AAAA" ? `[${record.host}]` : record.host.replace(/\.$/, "");
    return { url: `${scheme}://${host}:${record.port ?? port}`, ...endpoint?.(record) };
  };

  return (signal, context) => {
    let known = false;
    let empty = 0;
    let last: readonly Endpoint[] = [];
    return pollingDiscovery({
      name: `DNS name ${hostname}`,
      retryMs: minRefreshMs,
      maxRetryMs: maxRefreshMs,
      poll: async () => {
        const records = await resolver(hostname, type, signal);
        empty = records.length === 0 ? empty + 1 : 0;
        if (known && last.length > 0 && empty > 0 && empty < emptyAnswersBelieved) {
          return { endpoints: last, nextMs: minRefreshMs };
        }
        // Servers answer in any order; the same records are the same list.
        const chosen = lowestPriority(records).toSorted(byHostAndPort);
        last = parseEndpoints(chosen.map(toEndpoint), `DNS name ${hostname}`);
        known = true;
        return { endpoints: last, nextMs: refreshMs(records, minRefreshMs, maxRefreshMs) };
      },
    })(signal, context);
  };
}

function refreshMs(records: readonly DnsRecord[], minMs: number, maxMs: number): number {
  const ttls = records.flatMap(({ ttlS }) => (ttlS === undefined ? [] : [ttlS * 1000]));
  return Math.min(maxMs, Math.max(minMs, ttls.length === 0 ? maxMs : Math.min(...ttls)));
}

/** Of SRV records those that are to be used before the others. */
function lowestPriority(records: readonly DnsRecord[]): readonly DnsRecord[] {
  const lowest = Math.min(...records.map(({ priority = 0 }) => priority));
  return records.filter(({ priority = 0 }) => priority === lowest);
}

function byHostAndPort(one: DnsRecord, other: DnsRecord): number {
  if (one.host !== other.host) return one.host < other.host ? -1 : 1;
  return (one.port ?? 0) - (other.port ?? 0);
}

function wrongPort(type: DnsRecordType): ConfigurationError {
  const srv = type === "SRV";
  return new ConfigurationError("dnsDiscovery", [
    {
      path: ["port"],
      message: srv
        ? "SRV records have their own ports; leave it out"
        : "Field required: address records have no port",
      type: srv ? "value_error" : "missing",
    },
  ]);
}
