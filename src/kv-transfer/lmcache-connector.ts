import { DefaultConnector } from "./default-connector.ts";

/**
 * vLLM's `LMCacheConnectorV1`: KV moves through LMCache itself, so that prefill's handle is normally null or an
 * empty object and is passed on as it comes. Mirrors Ray's `LMCacheConnectorV1Backend`.
 */
export class LmcacheConnector extends DefaultConnector {
  /** @param name `LMCacheConnectorV1`, or `LMCacheMPConnector` */
  constructor(name = "LMCacheConnectorV1") {
    super(name);
  }
}
