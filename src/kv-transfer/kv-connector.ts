import type { RawJson } from "../protocol/raw-json.ts";

/** The two OpenAI calls that are disaggregated. Ray's method names. */
export type GenerateMethod = "chat" | "completions";

/** The client's request as a connector sees it: fields are read one at a time, never all parsed. */
export interface ConnectorRequest {
  readonly method: GenerateMethod;
  /** Id that this attempt's two legs share; sent as `X-Request-Id`. */
  readonly requestId: string;
  /** What the decode replica reserved for this request publishes about itself, for connectors that need both addresses. */
  readonly decodePeer?: PeerMetadata | undefined;
  /** True when the client's body has this top-level field. */
  has(field: string): boolean;
  /** The value of a top-level field, parsed, or undefined. */
  get(field: string): unknown;
}

/** What an engine's side of the transfer publishes about itself (Ray's `replica_metadata()`). */
export type PeerMetadata = Readonly<Record<string, unknown>>;

/** What prefill answered, as far as the handoff needs it. */
export interface PrefillResponse {
  /** `kv_transfer_params` of the answer, byte for byte; undefined when absent or null. */
  readonly kvTransferParams: RawJson | undefined;
  /** Token ids of the prompt, when they were asked for. */
  readonly promptTokenIds?: RawJson | undefined;
}

/**
 * How a leg's request differs from the client's. Everything not named goes out byte for byte as it came.
 *
 * Values in `set` are JSON values or {@link RawJson} to be copied verbatim. Of what is the same for every request,
 * connectors make one object of edits, with its values encoded once; never change one that was given out.
 */
export interface RequestEdits {
  readonly set?: Readonly<Record<string, unknown>> | undefined;
  readonly remove?: readonly string[] | undefined;
  /** Headers to add, lower-case names. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Replaces the shared request id of this leg, for connectors that carry addresses in it. */
  readonly requestId?: string | undefined;
}

/**
 * One KV connector's way of carrying KV from prefill to decode: how the two requests look. Pure: no I/O.
 *
 * Mirrors the per-request half of Ray's `BaseConnectorBackend`.
 */
export interface KvConnector {
  /** vLLM's name, for example `NixlConnector`. */
  readonly name: string;
  /** True when the prefill replica must be chosen, and its metadata known, before either request is built. */
  readonly requiresPeerBinding: boolean;
  /** True when decode is sent without waiting for prefill's answer. */
  readonly concurrentHandoff: boolean;
  /**
   * True when decode is useless without a usable handle from prefill (Nixl, MoRIIO READ); false when KV moves by
   * other means and a null handle is normal (LMCache, stores).
   */
  readonly requiresHandle: boolean;
  /**
   * Where a prefill replica's metadata comes from: its endpoint's `kvMetadata`, or its Mooncake bootstrap server.
   *
   * @default "endpoint"
   */
  readonly metadataSource?: "endpoint" | "mooncake-bootstrap" | undefined;
  /**
   * True when a decode engine takes every request for one whose KV comes from prefill, so that it can't answer alone.
   *
   * @default false
   */
  readonly decodeNeedsPrefill?: boolean | undefined;
  /** Texts that endpoints of both sides must have in `kvMetadata`. @default none */
  readonly endpointMetadata?: readonly string[] | undefined;
  preparePrefillRequest(request: ConnectorRequest, peer: PeerMetadata | undefined): RequestEdits;
  prepareDecodeRequest(
    request: ConnectorRequest,
    peer: PeerMetadata | undefined,
    prefill: PrefillResponse | undefined,
  ): RequestEdits;
  /** Why a handle can't be used, or undefined when it can. Absent: any object will do. */
  checkHandle?(handle: RawJson): string | undefined;
}

/** `engine_kwargs.kv_transfer_config`: vLLM's words, never renamed. */
export type KvTransferConfig = Readonly<Record<string, unknown>>;

/** What a connector is made from. */
export interface KvConnectorContext {
  /**
   * What the decode engines publish about themselves when a request does not say which one serves it. Ray's own
   * `replica_metadata()`: there the orchestrator runs within the decode engine.
   */
  readonly decodeMetadata?: PeerMetadata | undefined;
  /** Takes warnings about the configuration. Default: dropped. */
  readonly warn?: ((message: string) => void) | undefined;
}
