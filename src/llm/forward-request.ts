import type { CancelToken } from "../internal/cancel-token.ts";
import type { RequestTrace } from "../observability/request-trace.ts";
import type { LLMRequest } from "./llm-request.ts";

/** A request that goes to an answering engine as it came: embeddings, tokenize, audio, Responses, Anthropic messages. */
export interface ForwardRequest {
  /** Tells it from a generation request. */
  readonly method: "forward";
  readonly httpMethod: "GET" | "POST";
  /** Path on the engine, with query. */
  readonly path: string;
  /** The client's `content-type`; undefined without a body. */
  readonly contentType: string | undefined;
  /** The client's bytes; undefined without a body. */
  readonly body: Uint8Array | undefined;
  /** The client asked for a stream of events. */
  readonly stream: boolean;
  /**
   * What a whole stream of this route ends with: names of events, or `[DONE]`. A stream that ends without one of
   * them is broken. Undefined when the route's streams have no such mark.
   */
  readonly streamEnds: readonly string[] | undefined;
  /** The model as the client named it, with the LoRA id if it named one. */
  readonly modelId: string;
  /** Id of the request for people: logs, response header. Engines get an id of ours for each attempt. */
  readonly requestId: string;
  /** Sticky session key. */
  readonly sessionId?: string | undefined;
  /** vLLM's `priority`: lower goes first. */
  readonly priority: number;
  /** Client headers that engines may see: an allow-list, flat names and values. */
  readonly forwardHeaders: readonly string[];
  /** Fires when the client left, gave up, or the request's time is over. */
  readonly cancel: CancelToken;
  /** Called with the request's story as it begins to be written, by the deployment that serves it. */
  readonly onTrace?: ((trace: RequestTrace) => void) | undefined;
}

/** Any request to a model: what admission, routing, retries and traces work with. */
export type ModelRequest = LLMRequest | ForwardRequest;
