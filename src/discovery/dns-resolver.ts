import { Resolver } from "node:dns/promises";

/** Types of records that {@link DnsResolver} looks up. */
export type DnsRecordType = "A" | "AAAA" | "SRV";

/** One record of a DNS answer. */
export interface DnsRecord {
  /** The address, or of SRV the name of the target. */
  readonly host: string;
  /** Only of SRV. */
  readonly port?: number | undefined;
  /** Only of SRV: a client uses the lowest it can reach. */
  readonly priority?: number | undefined;
  /** Seconds for which it may be kept; undefined: the resolver does not say. */
  readonly ttlS?: number | undefined;
}

/** Looks names up. An answer without records is an empty list, anything else that is no answer an error. */
export type DnsResolver = (
  hostname: string,
  type: DnsRecordType,
  signal: AbortSignal,
) => Promise<readonly DnsRecord[]>;

/** There is no such name, or it has no such records: an answer like any other. */
const emptyAnswers = new Set(["ENOTFOUND", "ENODATA"]);

/** The system's DNS servers, asked directly: no hosts file, no search domains. Node does not tell the TTL of SRV. */
export const systemDnsResolver: DnsResolver = async (hostname, type, signal) => {
  const resolver = new Resolver();
  const cancel = (): void => resolver.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    if (type === "SRV") {
      const records = await resolver.resolveSrv(hostname);
      return records.map(({ name, port, priority }) => ({ host: name, port, priority }));
    }
    const options = { ttl: true } as const;
    const records = await (type === "A"
      ? resolver.resolve4(hostname, options)
      : resolver.resolve6(hostname, options));
    return records.map(({ address, ttl }) => ({ host: address, ttlS: ttl }));
  } catch (error) {
    if (error instanceof Error && "code" in error && emptyAnswers.has(String(error.code))) return [];
    throw error;
  } finally {
    signal.removeEventListener("abort", cancel);
  }
};
