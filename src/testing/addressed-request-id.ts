/** Where an engine's KV can be had. */
export interface KvAddress {
  readonly host: string;
  readonly port: number;
}

// vLLM's own expressions.
const prefillPattern = /___prefill_addr_(.+?)___decode_addr_/;
const decodePattern = /___decode_addr_(.+)_[0-9a-f]{32}(?:-.*)?$/;

/** The addresses of both engines in an `X-Request-Id`, as text; undefined when it carries none. */
export function readAddressedId(
  requestId: string | undefined,
): { readonly prefill: string; readonly decode: string } | undefined {
  const prefill = prefillPattern.exec(requestId ?? "")?.[1];
  const decode = decodePattern.exec(requestId ?? "")?.[1];
  return prefill === undefined || decode === undefined ? undefined : { prefill, decode };
}

/** Reads P2pNccl's `ip:port` or MoRIIO's `host:ip,handshake:port,notify:port`. */
export function readKvAddress(text: string): KvAddress | undefined {
  const match = /^host:(.+),handshake:(\d+),notify:\d+$/.exec(text) ?? /^([^,]+):(\d+)$/.exec(text);
  return match === null ? undefined : { host: match[1] ?? "", port: Number(match[2]) };
}
