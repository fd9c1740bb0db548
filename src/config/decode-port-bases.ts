/** Where the NIXL side channels of decode engines start, so that they differ from prefill's. Ray's value. */
export const decodeNixlPortBase = 22_000;

/**
 * The `experimental_configs` that keep decode's side channels apart from prefill's, where a user says nothing. Ray
 * sets the NIXL one whatever the connector is.
 */
export function decodePortBases(kvConnector: string | undefined): Readonly<Record<string, number>> {
  const nixl = { NIXL_SIDE_CHANNEL_PORT_BASE: decodeNixlPortBase };
  return kvConnector === "MoRIIOConnector"
    ? { ...nixl, MORI_HANDSHAKE_PORT_BASE: 7_301, MORI_NOTIFY_PORT_BASE: 62_005 }
    : nixl;
}
