import { ConfigurationError } from "../errors/configuration-error.ts";

/** Where a MoRIIO engine listens. */
export interface MoriioAddress {
  readonly host: string;
  readonly handshakePort: number;
  readonly notifyPort: number;
}

/** vLLM's text form, `host:{ip},handshake:{port},notify:{port}`. Mirrors Ray's `build_zmq_address`. */
export function formatMoriioAddress(address: MoriioAddress): string {
  return `host:${address.host},handshake:${address.handshakePort},notify:${address.notifyPort}`;
}

/**
 * Reads {@link formatMoriioAddress}'s text; IPv6 hosts are fine.
 *
 * @throws ConfigurationError when it is not of that form
 */
export function parseMoriioAddress(text: string): MoriioAddress {
  const match = /^host:(.+),handshake:(\d+),notify:(\d+)$/.exec(text);
  if (match !== null) {
    return { host: match[1] as string, handshakePort: Number(match[2]), notifyPort: Number(match[3]) };
  }
  throw new ConfigurationError("MoRIIO address", [
    {
      path: ["mori_zmq_address"],
      message: "not a MoRIIO address",
      type: "value_error",
      expected: "host:{ip},handshake:{port},notify:{port}",
      received: text,
    },
  ]);
}
