import type * as z from "zod";

import { ConfigurationError } from "../errors/configuration-error.ts";
import type { Clock } from "../internal/clock.ts";
import type { Random } from "../internal/random.ts";
import { describeValue } from "./describe-value.ts";
import { type EndpointSource, isEndpointSource, readEndpointSource } from "./endpoint-source.ts";
import {
  integer,
  isPlainObject,
  listOf,
  mapOf,
  objectOf,
  optional,
  reading,
  type SchemaProblem,
  text,
} from "./lax-schema.ts";
import { nested, parseConfig } from "./parse-config.ts";

/** One vLLM OpenAI server. */
export interface Endpoint {
  /** Base URL without a trailing slash or `/v1`, for example `http://prefill-0:8000`. */
  readonly url: string;
  /** Sent as `Authorization: Bearer ...`; wins over the `client` configuration's. */
  readonly apiKey?: string | undefined;
  /** Headers added to every request to it, lower-case names; they win over the `client` configuration's. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Data-parallel rank in its group, 0 or more; of the first one, when `dpRanks` says that there are several. */
  readonly rank?: number | undefined;
  /** Prefill and decode endpoints of different groups are never paired. */
  readonly pairGroup?: string | undefined;
  /** Free labels for topology-aware routing, for example `{ zone: "a" }`. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Name in logs, metrics and status. @default host and port of the URL */
  readonly name?: string | undefined;
  /**
   * Number of data-parallel ranks behind this one URL (1 or more). With several, each is a replica of its own, addressed
   * by `X-data-parallel-rank`. @default 1; in a data-parallel deployment what its configuration says
   */
  readonly dpRanks?: number | undefined;
  /**
   * What its KV connector publishes, in vLLM's words: `mori_zmq_address` (MoRIIO), `zmq_address` (P2pNccl),
   * `bootstrap_addr` (Mooncake). Ray's `replica_metadata()`.
   */
  readonly kvMetadata?: Readonly<Record<string, string | number | boolean>> | undefined;
}

/** An endpoint as a user writes it: {@link Endpoint}, with a URL that may end in `/` or `/v1`. */
export type EndpointInit = Endpoint;

/** What a {@link Discovery} gets from the deployment it works for. */
export interface DiscoveryContext {
  /** Name of the deployment, for messages. */
  readonly deployment: string;
  readonly clock: Clock;
  readonly random: Random;
  /** For what a person should know, for example that the source can't be reached at the moment. */
  readonly warn: (message: string) => void;
}

/**
 * Where endpoints come from: yields the complete list whenever it changes, first at once, until the signal aborts.
 *
 * When it throws before its first list, the deployment can't start; later the last list stays in use.
 */
export type Discovery = (
  signal: AbortSignal,
  context: DiscoveryContext,
) => AsyncIterable<readonly Endpoint[]>;

/** Endpoints as a user gives them: URLs, endpoint objects, or a source of them. */
export type EndpointsInit = readonly (string | EndpointInit)[] | Discovery | EndpointSource;

/** Endpoints as a configuration holds them. */
export type Endpoints = readonly Endpoint[] | Discovery | EndpointSource;

/** True when a configuration says itself which endpoints there are, instead of naming a source. */
export function isEndpointList(endpoints: Endpoints | undefined): endpoints is readonly Endpoint[] {
  return Array.isArray(endpoints);
}

/** A base URL as {@link Endpoint} holds it, or what is wrong with it. */
export function readBaseUrl(input: string): { readonly value: string } | SchemaProblem {
  const refuse = (message: string): SchemaProblem => ({
    type: "url_parsing",
    message,
    expected: 'a URL like "http://host:8000"',
    received: describeValue(input, []),
  });
  if (!URL.canParse(input)) return refuse("Input should be a valid URL");
  const url = new URL(input);
  if (url.protocol !== "http:" && url.protocol !== "https:")
    return refuse("URL scheme should be http or https");
  if (url.username !== "" || url.password !== "") {
    return refuse("A URL must not carry credentials; use apiKey or headers");
  }
  if (url.search !== "" || url.hash !== "" || /[?#]/.test(input)) {
    return refuse("A base URL must not have a query or a fragment");
  }
  const path = url.pathname.replace(/\/+$/, "").replace(/\/v1$/, "").replace(/\/+$/, "");
  return { value: `${url.protocol}//${url.host}${path}` };
}

/** Header names and values, checked to be sendable; names come out in lower case. */
export function headersSchema(): z.ZodType<Readonly<Record<string, string>>> {
  const values = mapOf(text());
  return reading((input) => {
    const parsed = values.safeParse(input);
    if (!parsed.success) {
      return { type: "dict_type", message: "Headers should be a map from names to strings" };
    }
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(parsed.data)) {
      if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)) {
        return { type: "value_error", message: `"${name.slice(0, 40)}" is not a valid header name` };
      }
      // What HTTP forbids in a value: control characters; and what can't be sent as latin1.
      if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) {
        return {
          type: "value_error",
          message: `The value of header "${name}" has characters HTTP does not allow`,
        };
      }
      headers[name.toLowerCase()] = value;
    }
    return { value: headers };
  });
}

function kvMetadata(): z.ZodType<NonNullable<Endpoint["kvMetadata"]>> {
  return reading((input) => {
    const refused = {
      type: "dict_type",
      message: "kvMetadata should be a map from names to texts, numbers or booleans",
    };
    if (!isPlainObject(input)) return refused;
    for (const [name, value] of Object.entries(input)) {
      const known = typeof value === "string" || typeof value === "boolean" || Number.isFinite(value);
      if (!known) return { ...refused, path: [name], received: describeValue(value, []) };
    }
    return { value: { ...input } as NonNullable<Endpoint["kvMetadata"]> };
  });
}

const endpointObject = objectOf("Endpoint", {
  url: reading((input) =>
    typeof input === "string"
      ? readBaseUrl(input)
      : { type: "string_type", message: "Input should be a valid string" },
  ),
  apiKey: optional(text({ minLength: 1 })),
  headers: optional(headersSchema()),
  rank: optional(integer({ atLeast: 0 })),
  pairGroup: optional(text({ minLength: 1 })),
  labels: optional(mapOf(text())),
  name: optional(text({ minLength: 1 })),
  dpRanks: optional(integer({ atLeast: 1 })),
  kvMetadata: optional(kvMetadata()),
});

/** The object form of one endpoint; a plain URL string has become `{ url }` before it comes here. */
const endpointList = listOf(endpointObject as z.ZodType<Endpoint>);

/** Reads `endpoints`: a list of URLs or objects, or a source, which is kept as it is. */
export function endpointsSchema(): z.ZodType<Endpoints> {
  return reading((input): { readonly value: Endpoints } | SchemaProblem | readonly SchemaProblem[] => {
    if (typeof input === "function") return { value: input as Discovery };
    if (Array.isArray(input)) return parseEndpointList(input);
    if (isEndpointSource(input)) return readEndpointSource(input);
    return {
      type: "list_type",
      message: "Input should be a list of URLs or endpoint objects, or a source of them",
      expected: 'for example ["http://host:8000"], dnsDiscovery({ ... }), or in YAML { dns: { ... } }',
    };
  });
}

/**
 * Reads a list of URLs and endpoint objects, in either spelling.
 *
 * @param subject what is being read, for the message
 * @throws ConfigurationError naming every problem
 */
export function parseEndpoints(input: unknown, subject = "endpoints"): readonly Endpoint[] {
  const read = Array.isArray(input)
    ? parseEndpointList(input)
    : [{ type: "list_type", message: "Input should be a list of URLs or endpoint objects" }];
  if ("value" in read) return read.value;
  throw new ConfigurationError(
    subject,
    read.map(({ nested: _nested, path = [], ...problem }) => ({ ...problem, path })),
  );
}

function parseEndpointList(
  input: readonly unknown[],
): { readonly value: readonly Endpoint[] } | readonly SchemaProblem[] {
  const result = nested(() => parseConfig(endpointList, input.map(asObject), "endpoints"));
  if (!("value" in result)) return result;
  const seen = new Map<string, number>();
  const problems: SchemaProblem[] = [];
  for (const [index, endpoint] of result.value.entries()) {
    const identity = `${endpoint.url} ${endpoint.rank ?? ""}`;
    const first = seen.get(identity);
    if (first !== undefined) {
      problems.push({
        type: "value_error",
        message: `The same endpoint as number ${first}; give each URL (and rank) once`,
        path: [index],
      });
    }
    seen.set(identity, first ?? index);
  }
  return problems.length > 0 ? problems : result;
}

function asObject(element: unknown): unknown {
  return typeof element === "string" ? { url: element } : element;
}
