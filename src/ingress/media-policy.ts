import { BlockList, isIP } from "node:net";
import { ConfigurationError } from "../errors/configuration-error.ts";
import { RequestError } from "../errors/request-error.ts";
import type { JsonObjectIndex } from "../protocol/json-object-index.ts";
import { parseEngineJson } from "../protocol/engine-json.ts";

/**
 * Hosts from which engines may be told to fetch images, sounds and videos: names without a port, exactly. `"any"`: all.
 * Not given: names that look public; no addresses of private networks, no names without a dot, no `.local` or
 * `.internal`.
 */
export type MediaHosts = readonly string[] | "any";

const mediaKeys = ["image_url", "audio_url", "video_url"] as const;
/** Keys that a body with media has somewhere: every body that is checked is scanned for them. */
export const keysOfMedia: ReadonlySet<string> = new Set([...mediaKeys, "url"]);
const scheme = /^[a-z][a-z0-9+.-]*:/i;
/** Characters at which URL readers disagree on where the host ends. */
// oxlint-disable-next-line no-control-regex
const ambiguous = /[\s\\\u0000-\u001f\u007f]/;
const privateName = /(^|\.)(localhost|local|internal|localdomain|lan|home\.arpa)$/;
const maxDepth = 64;

// Two lists: one of both kinds would take every IPv4 address for the IPv6 address it maps to.
const notPublic4 = new BlockList();
const notPublic6 = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["224.0.0.0", 3],
] as const) {
  notPublic4.addSubnet(network, prefix, "ipv4");
}
// What is public in IPv6 begins with 2 or 3; of that, tunnels and translations can carry any IPv4 address.
for (const [network, prefix] of [
  ["::", 3],
  ["4000::", 2],
  ["8000::", 1],
  ["2001::", 23],
  ["2002::", 16],
] as const) {
  notPublic6.addSubnet(network, prefix, "ipv6");
}

/**
 * Says which media URLs of a client an engine may see: it would fetch them from within the private network (vLLM,
 * CVE-2025-6242). Names are judged, not what they resolve to: only a list of hosts keeps a name that points inside out.
 */
export class MediaPolicy {
  readonly #hosts: ReadonlySet<string> | "any" | undefined;

  /** @throws ConfigurationError when a host is no host name */
  constructor(hosts: MediaHosts | undefined) {
    if (hosts === undefined || hosts === "any") this.#hosts = hosts;
    else this.#hosts = new Set(hosts.map((host, index) => checkedHost(host, index)));
  }

  /** @throws RequestError 400 for a URL that is not allowed */
  check(body: JsonObjectIndex): void {
    if (this.#hosts === "any") return;
    if (body.notedKeys.size === 0) return;
    const bytes = Buffer.from(body.bytes.buffer, body.bytes.byteOffset, body.bytes.byteLength);
    this.#walk(parseEngineJson(bytes.toString()), 0);
  }

  #walk(value: unknown, depth: number): void {
    if (typeof value !== "object" || value === null || depth > maxDepth) return;
    if (!Array.isArray(value)) {
      const object = value as Readonly<Record<string, unknown>>;
      for (const key of mediaKeys) this.#checkUrl(key, urlOf(object[key]));
      if (object["type"] === "url") this.#checkUrl("url", object["url"]);
    }
    for (const each of Object.values(value)) this.#walk(each, depth + 1);
  }

  #checkUrl(param: string, text: unknown): void {
    if (typeof text !== "string" || text.startsWith("data:")) return;
    if (!ambiguous.test(text)) {
      // Without a scheme it is no URL, and the engine's to refuse.
      if (!scheme.test(text)) return;
      const url = parsed(text);
      if (url !== null && /^https?:$/.test(url.protocol) && url.username === "" && this.#allows(url.hostname))
        return;
    }
    throw new RequestError(
      `\`${param}\` is a URL that engines may not fetch here; send the content as a data: URL.`,
      {
        param,
        code: "media_not_allowed",
      },
    );
  }

  #allows(hostname: string): boolean {
    const host = hostname.toLowerCase().replace(/\.$/, "");
    if (this.#hosts !== undefined) return this.#hosts !== "any" && this.#hosts.has(host);
    const address = host.replace(/^\[|\]$/g, "");
    const family = isIP(address);
    if (family === 4) return !notPublic4.check(address, "ipv4");
    if (family === 6) return !notPublic6.check(address, "ipv6");
    return host.includes(".") && !privateName.test(host);
  }
}

function urlOf(value: unknown): unknown {
  return typeof value === "object" && value !== null ? (value as { readonly url?: unknown }).url : value;
}

function parsed(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

function checkedHost(host: unknown, index: number): string {
  const url = typeof host === "string" ? parsed(`http://${host}`) : null;
  if (url !== null && url.host !== "" && url.host === String(host).toLowerCase() && url.port === "")
    return url.host;
  throw new ConfigurationError("OpenAiIngress", [
    {
      path: ["mediaHosts", index],
      message: "Input should be the name of a host",
      type: "value_error",
      expected: "a host name without scheme, port and path",
      received: String(host),
    },
  ]);
}
