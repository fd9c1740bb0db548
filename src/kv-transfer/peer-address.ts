import { ConfigurationError } from "../errors/configuration-error.ts";
import type { PeerMetadata } from "./kv-connector.ts";
import { sha256Hex } from "./sha256.ts";

/**
 * A request id that carries the addresses of both engines, for connectors that find their peer by it (MoRIIO,
 * P2pNccl). vLLM's regular expressions are `___prefill_addr_(.+?)___decode_addr_` and
 * `___decode_addr_(.+)_[0-9a-f]{32}(?:-.*)?$`.
 *
 * @param uid 32 hexadecimal digits
 */
export function addressedRequestId(prefillAddress: string, decodeAddress: string, uid: string): string {
  return `___prefill_addr_${prefillAddress}___decode_addr_${decodeAddress}_${uid}`;
}

/** 32 hexadecimal digits that both legs of a request derive alike: Ray's `sha256(request_id).hexdigest()[:32]`. */
export function requestUid(requestId: string): string {
  return sha256Hex(requestId).slice(0, 32);
}

/**
 * The address of the other engine in an addressed request id. Mirrors Ray's `parse_peer_zmq`.
 *
 * @param isProducer true to read it as the prefill engine does
 * @throws ConfigurationError when the id carries no addresses
 */
export function parsePeerAddress(requestId: string, isProducer: boolean): string {
  const pattern = isProducer
    ? /___decode_addr_(.+)_[0-9a-f]{32}(?:-.*)?$/s
    : /___prefill_addr_(.+?)___decode_addr_/s;
  const address = pattern.exec(requestId)?.[1];
  if (address !== undefined) return address;
  throw new ConfigurationError("Request id", [
    {
      path: ["request_id"],
      message: `No peer zmq address in request_id: '${requestId}'`,
      type: "value_error",
    },
  ]);
}

/**
 * A non-empty text that a peer must publish about itself.
 *
 * @param message what to say when it is not there
 * @throws ConfigurationError
 */
export function requirePeerText(peer: PeerMetadata | undefined, field: string, message: string): string {
  const value = peer?.[field];
  if (typeof value === "string" && value !== "") return value;
  throw new ConfigurationError("KV transfer peer", [
    {
      path: ["metadata", field],
      message,
      type: value === undefined || value === null ? "missing" : "string_type",
    },
  ]);
}

/**
 * A whole number that a peer may publish about itself, also written as text; `fallback` when it does not.
 *
 * @throws ConfigurationError when it is there and no whole number
 */
export function peerInteger(peer: PeerMetadata | undefined, field: string, fallback: number): number {
  const value = peer?.[field];
  if (value === undefined || value === null || value === "") return fallback;
  const number = typeof value === "string" && /^\s*\d+\s*$/.test(value) ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number) && number >= 0) return number;
  throw new ConfigurationError("KV transfer peer", [
    {
      path: ["metadata", field],
      message: "not a whole number",
      type: "int_parsing",
      expected: "an integer from 0",
      received: JSON.stringify(value),
    },
  ]);
}
